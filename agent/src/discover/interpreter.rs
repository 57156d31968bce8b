//! From an interpreter's command line to the script, module, archive or class that it runs.
//!
//! Each interpreter has flags that take the next argument as their value; only those are listed.
//! What is not understood gives `None`, and the interpreter's own name is used.

use super::program::{Family, base};

/// Names what is in a directory, `None` where a path is none.
type Directory<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What runs, by the arguments behind the interpreter's own name.
pub(super) fn target(
    family: Family,
    arguments: &[String],
    directory: Directory<'_>,
) -> Option<String> {
    match family {
        Family::Python => python(arguments, directory),
        Family::Node => node(arguments, directory),
        Family::Ruby => ruby(arguments),
        Family::Perl => perl(arguments),
        Family::Php => php(arguments),
        Family::Java => java(arguments),
        Family::Dotnet => dotnet(arguments),
        Family::Shell => shell(arguments),
        Family::Deno => script_of_subcommand(arguments, &["run", "serve"]),
        Family::Bun => script_of_subcommand(arguments, &["run"]),
        Family::Erlang => erlang(arguments),
    }
}

/// What an argument means.
enum Meaning {
    /// A flag by itself.
    Flag,
    /// A flag whose value is the next argument.
    WithValue,
    /// Code, standard input or nothing to run: the interpreter is all there is.
    Nothing,
}

/// First argument that is no flag and no value of one; flags end at `--`.
fn first_operand(arguments: &[String], meaning: impl Fn(&str) -> Meaning) -> Option<&[String]> {
    let mut rest = arguments;
    loop {
        let (first, after) = rest.split_first()?;
        if first == "--" {
            return (!after.is_empty()).then_some(after);
        }
        if !first.starts_with('-') {
            return Some(rest);
        }
        rest = match meaning(first) {
            Meaning::Flag => after,
            Meaning::WithValue => after.get(1..)?,
            Meaning::Nothing => return None,
        };
    }
}

/// File name without one of the extensions; none for what is read from a descriptor
/// (`/dev/fd/3`, `/proc/self/fd/3`, `/dev/stdin`).
fn stem(path: &str, extensions: &[&str]) -> Option<String> {
    if path.starts_with("/dev/") || path.starts_with("/proc/") {
        return None;
    }
    let name = base(path);
    let stem = extensions
        .iter()
        .find_map(|extension| name.strip_suffix(extension).and_then(|rest| rest.strip_suffix('.')));
    let stem = stem.unwrap_or(name);
    (!stem.is_empty()).then(|| stem.to_owned())
}

/// python(1). Short flags can be joined: `-um http.server`.
fn python(arguments: &[String], directory: Directory<'_>) -> Option<String> {
    let mut rest = arguments;
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        let Some(flags) = first.strip_prefix('-') else {
            return directory(first).or_else(|| stem(first, &["py", "pyc", "pyz", "pex"]));
        };
        if first.starts_with("--") {
            if first == "--check-hash-based-pycs" {
                rest = after.get(1..)?;
            }
            continue;
        }
        let Some(at) = flags.find(['m', 'c', 'W', 'X', 'Q']) else {
            if flags.is_empty() {
                return None;
            }
            continue;
        };
        let (letter, attached) = flags.get(at..)?.split_at_checked(1)?;
        match (letter, attached) {
            ("m", "") => return after.first().cloned(),
            ("m", module) => return Some(module.to_owned()),
            ("c", _) => return None,
            (_, "") => rest = after.get(1..)?,
            _ => {}
        }
    }
}

/// node(1).
fn node(arguments: &[String], directory: Directory<'_>) -> Option<String> {
    let operands = first_operand(arguments, |flag| match flag {
        "-r"
        | "--require"
        | "--import"
        | "--loader"
        | "--experimental-loader"
        | "-C"
        | "--conditions"
        | "--env-file"
        | "--title"
        | "--icu-data-dir" => Meaning::WithValue,
        "-" | "-e" | "--eval" | "-p" | "--print" | "-pe" | "-i" | "--interactive" | "--run" => {
            Meaning::Nothing
        }
        _ => Meaning::Flag,
    })?;
    let script = match operands.first()?.as_str() {
        "inspect" => operands.get(1)?,
        script => script,
    };
    if let Some(name) = directory(script) {
        return Some(name);
    }
    let name = stem(script, &["js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx"])?;
    // The package managers' own scripts: `npm-cli.js`, `npx-cli.js`.
    Some(
        name.strip_suffix("-cli").filter(|name| name.starts_with("np")).unwrap_or(&name).to_owned(),
    )
}

/// ruby(1). `bundle exec X` runs X in the same process.
fn ruby(arguments: &[String]) -> Option<String> {
    let operands = first_operand(arguments, |flag| match flag {
        "-r" | "-I" | "-C" | "-E" | "--encoding" | "--external-encoding" => Meaning::WithValue,
        "-" | "-e" => Meaning::Nothing,
        _ => Meaning::Flag,
    })?;
    let script = operands.first()?;
    if matches!(base(script), "bundle" | "bundler")
        && operands.get(1).is_some_and(|arg| arg == "exec")
    {
        return stem(operands.get(2)?, &["rb"]);
    }
    stem(script, &["rb", "ru"])
}

/// perlrun(1).
fn perl(arguments: &[String]) -> Option<String> {
    let operands = first_operand(arguments, |flag| match flag {
        "-I" => Meaning::WithValue,
        "-" => Meaning::Nothing,
        // Joined flags that end in code: `-e`, `-E`, `-ne`, `-lane`.
        flag if flag.len() <= 6 && flag.ends_with(['e', 'E']) => Meaning::Nothing,
        _ => Meaning::Flag,
    })?;
    stem(operands.first()?, &["pl", "psgi", "pm"])
}

/// php(1).
fn php(arguments: &[String]) -> Option<String> {
    if let Some(at) =
        arguments.iter().position(|argument| matches!(argument.as_str(), "-f" | "--file"))
    {
        return stem(arguments.get(at + 1)?, &["php", "phar"]);
    }
    let operands = first_operand(arguments, |flag| match flag {
        "-d" | "-c" | "-S" | "-t" | "-z" | "--define" | "--php-ini" | "--server" | "--docroot"
        | "-y" | "--fpm-config" | "-p" | "--prefix" | "-g" | "--pid" | "-b" => Meaning::WithValue,
        "-" | "-r" | "--run" | "-a" => Meaning::Nothing,
        _ => Meaning::Flag,
    })?;
    stem(operands.first()?, &["php", "phar"])
}

/// The launcher's documentation, java(1).
fn java(arguments: &[String]) -> Option<String> {
    let mut rest = arguments;
    loop {
        let (first, after) = rest.split_first()?;
        rest = match first.as_str() {
            "-jar" => return stem(after.first()?, &["jar", "war"]).map(|name| unversioned(&name)),
            "-m" | "--module" => return after.first().map(|module| class(module)),
            "-cp"
            | "-classpath"
            | "--class-path"
            | "-p"
            | "--module-path"
            | "--add-modules"
            | "--add-opens"
            | "--add-exports"
            | "--add-reads"
            | "--limit-modules"
            | "--upgrade-module-path"
            | "--source"
            | "--enable-native-access"
            | "--patch-module" => after.get(1..)?,
            flag if flag.starts_with("--module=") => {
                return Some(class(flag.trim_start_matches("--module=")));
            }
            flag if flag.starts_with(['-', '@']) => after,
            source if base(source).rsplit_once('.').is_some_and(|(_, end)| end == "java") => {
                return stem(source, &["java"]);
            }
            main => return Some(class(main)),
        };
    }
}

/// `com.acme.Main` and `module/com.acme.Main` are `Main`.
fn class(name: &str) -> String {
    let class = name.rsplit(['/', '.']).next().unwrap_or(name);
    class.to_owned()
}

/// An archive's name without its version, which by Maven's and Gradle's custom is the part from
/// the first `-` behind which a number stands that ends the name or goes on with a dot or a
/// qualifier: `orders-1.2-SNAPSHOT` is `orders`, `log4j-2-api` stays.
fn unversioned(name: &str) -> String {
    let at = name.match_indices('-').map(|(at, _)| at).find(|at| {
        let version = name.get(at + 1..).unwrap_or_default();
        let number = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
        number > 0 && matches!(version.as_bytes().get(number), None | Some(b'.'))
    });
    at.and_then(|at| name.get(..at)).filter(|name| !name.is_empty()).unwrap_or(name).to_owned()
}

/// `dotnet [host options] app.dll`, `dotnet exec … app.dll`. SDK commands (`run`, `watch`) start
/// the program as a process of its own.
fn dotnet(arguments: &[String]) -> Option<String> {
    let arguments = match arguments.split_first() {
        Some((first, rest)) if first == "exec" => rest,
        _ => arguments,
    };
    let operands = first_operand(arguments, |flag| match flag {
        "--additionalprobingpath"
        | "--additional-deps"
        | "--depsfile"
        | "--fx-version"
        | "--roll-forward"
        | "--runtimeconfig" => Meaning::WithValue,
        _ => Meaning::Flag,
    })?;
    base(operands.first()?).strip_suffix(".dll").map(str::to_owned)
}

/// sh(1), bash(1).
fn shell(arguments: &[String]) -> Option<String> {
    let operands = first_operand(arguments, |flag| match flag {
        "-" | "-s" => Meaning::Nothing,
        "--rcfile" | "--init-file" => Meaning::WithValue,
        flag if flag.starts_with("--") => Meaning::Flag,
        flag if flag.contains('c') => Meaning::Nothing,
        // `-o pipefail`, `-euo pipefail`, `-O extglob`.
        flag if flag.ends_with(['o', 'O']) => Meaning::WithValue,
        _ => Meaning::Flag,
    })?;
    stem(operands.first()?, &["sh", "bash", "zsh"])
}

/// `deno run [flags] main.ts`, `bun run server.ts`, and both without the subcommand. A word that is
/// no file is a task of the project, which starts the program as a process of its own.
fn script_of_subcommand(arguments: &[String], subcommands: &[&str]) -> Option<String> {
    let arguments = match arguments.split_first() {
        Some((first, rest)) if subcommands.contains(&first.as_str()) => rest,
        _ => arguments,
    };
    let operands = first_operand(arguments, |flag| match flag {
        "-c" | "--config" | "--import-map" | "-L" | "--log-level" | "--lock" | "--cert" | "-r"
        | "--preload" | "--cwd" | "--port" | "--host" => Meaning::WithValue,
        "-" | "-e" | "--eval" => Meaning::Nothing,
        _ => Meaning::Flag,
    })?;
    let script = operands.first()?;
    let is_file = base(script).contains('.') || script.contains('/');
    is_file.then(|| stem(script, &["ts", "js", "mts", "mjs", "cjs", "tsx", "jsx"])).flatten()
}

/// erl(1): the node's name without its host.
fn erlang(arguments: &[String]) -> Option<String> {
    let at =
        arguments.iter().position(|argument| matches!(argument.as_str(), "-sname" | "-name"))?;
    let name = arguments.get(at + 1)?.split('@').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}
