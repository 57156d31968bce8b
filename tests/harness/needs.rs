//! What a test needs of the machine. A test that cannot run is skipped by name, never passed
//! silently.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Something that a test cannot run without.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The user root, to load programs into the kernel.
    Root,
    /// A built vigie.
    Agent,
    /// An executable on the path.
    Program(&'static str),
    /// A server of PostgreSQL and its clients.
    Postgres,
    /// The OTLP receiver that `cargo xtask setup` installs.
    Rotel,
    /// The gRPC library for Python that `cargo xtask setup` installs.
    Grpcio,
    /// A package of Python that `cargo xtask setup` installs, by the name of its folder.
    Wheel(&'static str),
    /// A package of npm that `cargo xtask setup` installs.
    NodePackage(&'static str),
    /// promtool of Prometheus 3, which `cargo xtask setup` gets.
    Promtool3,
    /// Go with the sources of its gRPC library, which `cargo xtask setup` installs.
    Go,
}

/// Whether something is missing. Says so, and notes `NAME: REASON` in the file that
/// `VIGIE_SKIPPED` names.
pub fn missing(name: &str, needs: &[Need]) -> Result<bool> {
    for need in needs {
        if let Some(reason) = reason(*need)? {
            skip(name, &reason)?;
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::print_stdout, reason = "the one thing that a skipped test says")]
fn skip(name: &str, reason: &str) -> Result<()> {
    println!("skipped: {name}: {reason}");
    if let Some(file) = env::var_os("VIGIE_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{name}: {reason}")?;
    }
    Ok(())
}

fn reason(need: Need) -> Result<Option<String>> {
    Ok(match need {
        Need::Root if !rustix::process::geteuid().is_root() => Some("needs root".to_owned()),
        Need::Agent if agent()?.is_none() => Some("no vigie, build it or set VIGIE_BIN".to_owned()),
        Need::Program(program) if find(program).is_none() => Some(format!("no {program}")),
        Need::Postgres if !crate::postgres::is_there() => {
            Some("no PostgreSQL, run cargo xtask setup".to_owned())
        }
        Need::Rotel if rotel().is_none() => Some("no rotel, run cargo xtask setup".to_owned()),
        Need::Wheel(name) if !has_wheel(name) => {
            Some(format!("no {name} for Python, run cargo xtask setup"))
        }
        Need::NodePackage(name) if !node_packages().join(name).is_dir() => {
            Some(format!("no {name} for Node, run cargo xtask setup"))
        }
        Need::Promtool3 if !setup().join("promtool/3/promtool").is_file() => {
            Some("no promtool 3, run cargo xtask setup".to_owned())
        }
        Need::Grpcio if grpcio().is_none() => Some("no grpcio, run cargo xtask setup".to_owned()),
        Need::Go if find("go").is_none() || !Path::new(GO_LIBRARIES).join(GO_GRPC).is_dir() => {
            Some("no Go with gRPC, run cargo xtask setup".to_owned())
        }
        _ => None,
    })
}

/// Where Debian's packages put sources of Go, a `GOPATH`.
pub const GO_LIBRARIES: &str = "/usr/share/gocode";

/// gRPC below it.
const GO_GRPC: &str = "src/google.golang.org/grpc";

/// The top of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The vigie under test: `VIGIE_BIN`, else what was built last in this workspace.
pub fn agent() -> Result<Option<PathBuf>> {
    if let Some(given) = env::var_os("VIGIE_BIN") {
        let given = PathBuf::from(given);
        if !given.is_file() {
            bail!(
                "VIGIE_BIN is {}, which is no file; build it or unset VIGIE_BIN",
                given.display()
            );
        }
        return Ok(Some(given));
    }
    let target = workspace().join("target");
    let built = ["release/vigie", "debug/vigie"].map(|path| target.join(path));
    Ok(built.into_iter().find(|path| path.is_file()))
}

/// The OTLP receiver.
pub fn rotel() -> Option<PathBuf> {
    Some(environment().join("bin/rotel")).filter(|path| path.is_file())
}

/// A Python that has grpcio.
pub fn grpcio() -> Option<PathBuf> {
    Some(environment().join("bin/python3")).filter(|path| has_wheel("grpc") && path.is_file())
}

/// Whether the Python environment has a package.
fn has_wheel(name: &str) -> bool {
    let pythons = std::fs::read_dir(environment().join("lib")).into_iter().flatten().flatten();
    pythons.map(|python| python.path().join("site-packages").join(name)).any(|path| path.is_dir())
}

/// The folder with packages of npm, for `NODE_PATH`.
pub fn node_packages() -> PathBuf {
    setup().join("node/node_modules")
}

/// The Python environment that `cargo xtask setup` makes.
fn environment() -> PathBuf {
    setup().join("venv")
}

/// The folder that `cargo xtask setup` fills.
pub fn setup() -> PathBuf {
    env::var_os("VIGIE_SETUP").map_or_else(|| workspace().join("target/setup"), PathBuf::from)
}

/// An executable on the path, or where Debian keeps servers.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
