//! What program a process runs: the executable or, where that only interprets, the script or
//! module that it was given.
//!
//! A name must be the same at every start and on every machine, so versions are left out where
//! they are a part of file names by custom (`python3.11`, `orders-1.2.jar`), and nothing that
//! differs between two instances is kept.

use super::interpreter;

/// Longest name in bytes.
const MAX_NAME: usize = 200;

/// A kind of program that runs what others wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Python,
    Node,
    Ruby,
    Perl,
    Php,
    Java,
    Dotnet,
    Shell,
    Deno,
    Bun,
    Erlang,
}

impl Family {
    /// By the file name of an executable.
    pub(super) fn of(name: &str) -> Option<Self> {
        // `python3.11`, `ruby3.1`, `php8.2`, `pypy3`.
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Some(match stem {
            "python" | "pypy" => Self::Python,
            "node" | "nodejs" => Self::Node,
            "ruby" | "jruby" | "truffleruby" => Self::Ruby,
            "perl" => Self::Perl,
            "php" | "php-fpm" | "php-cgi" => Self::Php,
            "java" => Self::Java,
            "dotnet" => Self::Dotnet,
            "sh" | "bash" | "dash" | "zsh" | "ash" | "ksh" | "mksh" => Self::Shell,
            "deno" => Self::Deno,
            "bun" => Self::Bun,
            "beam.smp" | "beam" | "erlexec" => Self::Erlang,
            _ => return None,
        })
    }

    /// Value of `telemetry.sdk.language`; none where the convention has no value.
    pub(super) fn language(self) -> Option<&'static str> {
        match self {
            Self::Python => Some("python"),
            Self::Node => Some("nodejs"),
            Self::Ruby => Some("ruby"),
            Self::Php => Some("php"),
            Self::Java => Some("java"),
            Self::Dotnet => Some("dotnet"),
            Self::Erlang => Some("erlang"),
            Self::Perl | Self::Shell | Self::Deno | Self::Bun => None,
        }
    }
}

/// What is known of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    /// Path of the executable, empty where it is not known.
    pub(super) executable: &'a str,
    /// Command line.
    pub(super) arguments: &'a [String],
    /// Name of the main thread.
    pub(super) comm: &'a str,
}

/// Programs that are many in one file, and take the name under which they were started.
const MULTI_CALL: [&str; 4] = ["busybox", "toybox", "coreutils", "uutils"];

impl Program<'_> {
    /// File name of what runs, where `/proc` or the command line tells.
    fn file_name(&self) -> &str {
        let first = match self.arguments {
            // A title that the program wrote over its command line: `nginx: worker process`.
            [title] => title.split(' ').next().unwrap_or(title).trim_end_matches(':'),
            arguments => arguments.first().map_or("", String::as_str),
        };
        // A login shell is started as `-bash`.
        let started_as = base(first.strip_prefix('-').unwrap_or(first));
        let name = base(self.executable);
        if MULTI_CALL.contains(&name) {
            let applet = self.arguments.get(1).map_or(name, |applet| base(applet));
            return if started_as == name { applet } else { started_as };
        }
        // A program in memory only (memfd_create(2)): its name may be another at each start.
        let is_in_memory = self.executable.starts_with("/memfd:");
        if name.is_empty() || is_in_memory { started_as } else { name }
    }

    /// What kind of interpreter runs, if one does.
    pub(super) fn family(&self) -> Option<Family> {
        Family::of(self.file_name())
    }

    /// Name for the service. `directory` names what is in a directory that an interpreter was
    /// given; it is asked at most once.
    pub(super) fn name(&self, directory: &dyn Fn(&str) -> Option<String>) -> String {
        let file_name = self.file_name();
        let found = match Family::of(file_name) {
            Some(family) => self
                .interpreted(family, directory)
                .unwrap_or_else(|| plain_interpreter(file_name, family).to_owned()),
            None => file_name.to_owned(),
        };
        [&found, self.comm, "unknown_service"]
            .into_iter()
            .map(clean)
            .find(|name| !name.is_empty() && !name.starts_with("memfd:"))
            .unwrap_or_default()
    }

    fn interpreted(
        &self,
        family: Family,
        directory: &dyn Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let (first, rest) = self.arguments.split_first()?;
        if rest.is_empty() && first.contains(' ') {
            // The program wrote its own title over its command line: `gunicorn: master [app]`,
            // `puma 6.4 (tcp://…)`, `npm start`, or (pm2) `node /srv/api.js`.
            let words: Vec<String> = first.split_whitespace().map(str::to_owned).collect();
            let (title, rest) = words.split_first()?;
            if Family::of(base(title)) == Some(family) {
                return interpreter::target(family, rest, directory);
            }
            let title = base(title.trim_end_matches(':'));
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
            return (!title.is_empty() && title.chars().all(is_word)).then(|| title.to_owned());
        }
        interpreter::target(family, rest, directory)
    }
}

/// An interpreter's own name without its minor version: `python3.11` is `python3`.
fn plain_interpreter(name: &str, family: Family) -> &str {
    match family {
        Family::Php | Family::Node | Family::Ruby | Family::Perl => {
            name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
        }
        _ => name.split_once('.').map_or(name, |(major, _)| {
            if major.ends_with(|c: char| c.is_ascii_digit()) { major } else { name }
        }),
    }
}

/// Last component of a path.
pub(super) fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Without control characters and white space at the ends, and within the bound.
pub(super) fn clean(name: &str) -> String {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line in one string, its arguments separated by `|`.
    #[track_caller]
    fn check_program(executable: &str, arguments: &str, service: &str, language: Option<&str>) {
        let arguments: Vec<String> =
            arguments.split('|').filter(|all| !all.is_empty()).map(str::to_owned).collect();
        let program = Program { executable, arguments: &arguments, comm: "thread" };
        let directory = |path: &str| match path {
            "." | "/srv/shop" => Some("shop".to_owned()),
            _ => None,
        };
        assert_eq!(program.name(&directory), service, "{executable} {arguments:?}");
        assert_eq!(program.family().and_then(Family::language), language, "{executable}");
    }

    const PYTHON: &str = "/usr/bin/python3.11";
    const NODE: &str = "/usr/bin/node";
    const JAVA: &str = "/usr/lib/jvm/java-21-openjdk/bin/java";

    #[test]
    fn native() {
        let check = check_program;
        check("/usr/sbin/nginx", "nginx: worker process", "nginx", None);
        check("/usr/sbin/nginx", "nginx: master process nginx -g daemon off;", "nginx", None);
        check("/usr/lib/postgresql/15/bin/postgres", "postgres: walwriter ", "postgres", None);
        check("/app/server", "./server|--port|80", "server", None);
        check("", "/app/server|--port|80", "server", None);
        check("", "nginx: worker process", "nginx", None);
        check("/memfd:runc_cloned:/proc/self/exe", "runc|init", "runc", None);
        check("/memfd:sealed-91173221a7ea", "/memfd:sealed-91173221a7ea", "thread", None);
        check("", "", "thread", None);
        check("/bin/busybox", "httpd|-f", "httpd", None);
        check("/bin/busybox", "busybox|httpd|-f", "httpd", None);
        check("/bin/busybox", "/bin/busybox", "busybox", None);
        check(
            "/usr/bin/redis-server",
            "/usr/bin/redis-server 127.0.0.1:6379",
            "redis-server",
            None,
        );
        check("/opt/a b/my app", "my app", "my app", None);
    }

    #[test]
    fn python() {
        let check = |arguments: &str, service: &str| {
            check_program(PYTHON, arguments, service, Some("python"));
        };
        check("python3|script.py", "script");
        check("python3|/srv/app/orders.py|--port|80", "orders");
        check("python3|-u|-O|worker.py", "worker");
        check("python3|-W|ignore|-X|dev|worker.py", "worker");
        check("python3|-Wignore|worker.py", "worker");
        check("python3|-m|http.server|8000", "http.server");
        check("python3|-um|http.server", "http.server");
        check("python3|-mhttp.server", "http.server");
        check("python3|-m|uvicorn|app:main", "uvicorn");
        check("python3|-c|import time; time.sleep(1)", "python3");
        check("python3|-Ic|code", "python3");
        check("python3", "python3");
        check("python3|-", "python3");
        check("python3|manage.py|runserver", "manage");
        check("python3|main.py", "main");
        check("python3|/usr/local/bin/gunicorn|app:app", "gunicorn");
        check("/usr/bin/python3|/usr/bin/uvicorn|main:app", "uvicorn");
        check("/venv/bin/python|/venv/bin/flask|run", "flask");
        check("gunicorn: master [shop.wsgi]", "gunicorn");
        check("gunicorn: worker [app]", "gunicorn");
        check("celeryd: celery@host:MainProcess", "celeryd");
        check("python3|/srv/shop", "shop");
        check("python3|-X|importtime|-B|--check-hash-based-pycs|never|tool.pyz", "tool");
        check("python3|--version", "python3");
        check_program("", "python3|x.py", "x", Some("python"));
        check_program("/usr/bin/python2.7", "python|-c|x", "python2", Some("python"));
    }

    #[test]
    fn node() {
        let check = |arguments: &str, service: &str| {
            check_program(NODE, arguments, service, Some("nodejs"));
        };
        check("node|server.js", "server");
        check("node|--inspect|--max-old-space-size=400|/srv/api.mjs", "api");
        check("node|-r|ts-node/register|src/index.ts", "index");
        check("node|--require|dotenv/config|--enable-source-maps|app.cjs", "app");
        check("node|.", "shop");
        check("node|/srv/shop", "shop");
        check("node|/srv/unknown", "unknown");
        check("node|-e|setTimeout(()=>1)", "node");
        check("node", "node");
        check("node|--", "node");
        check("npm start", "npm");
        check("npm run dev", "npm");
        check("node|/usr/bin/npm|start", "npm");
        check("node|/usr/lib/node_modules/npm/bin/npm-cli.js|run|x", "npm");
        check("node|/usr/share/yarn/bin/yarn.js|start", "yarn");
        check("node|/srv/node_modules/.bin/next|start", "next");
        check("next-server (v14.1.0)", "next-server");
        check("node /srv/orders.js", "orders");
        check("PM2 v5.3.0: God Daemon (/home/app/.pm2)", "PM2");
    }

    #[test]
    fn jvm_and_dotnet() {
        let java =
            |arguments: &str, service: &str| check_program(JAVA, arguments, service, Some("java"));
        java("java|-jar|foo-1.2.jar", "foo");
        java("java|-Xmx1g|-Da=b|-jar|/app/orders-service-2.3.1-SNAPSHOT.jar|--x", "orders-service");
        java("java|-jar|app.jar", "app");
        java("java|-jar|log4j-2-api.jar", "log4j-2-api");
        java("java|-cp|/a:/b|com.acme.Main|arg", "Main");
        java("java|-classpath|/a|--add-opens|a/b=ALL|com.acme.Shop", "Shop");
        java("java|-p|mods|-m|shop/com.acme.Shop", "Shop");
        java("java|--module-path=mods|--module|shop", "shop");
        java("java|-javaagent:/x.jar|@opts|Main", "Main");
        java("java|Hello.java", "Hello");
        java("java|-version", "java");
        let dotnet = |arguments: &str, service: &str| {
            check_program("/usr/share/dotnet/dotnet", arguments, service, Some("dotnet"));
        };
        dotnet("dotnet|app.dll", "app");
        dotnet("dotnet|/app/Shop.Api.dll|--urls|x", "Shop.Api");
        dotnet("dotnet|exec|--runtimeconfig|x.json|app.dll", "app");
        dotnet("dotnet|run", "dotnet");
    }

    #[test]
    fn others() {
        let check = check_program;
        check("/usr/bin/ruby3.1", "ruby|app.rb", "app", Some("ruby"));
        check("/usr/bin/ruby3.1", "ruby|-I|lib|-r|x|bin/rails|server", "rails", Some("ruby"));
        check("/usr/bin/ruby", "ruby|/usr/bin/bundle|exec|puma|-C|x", "puma", Some("ruby"));
        check("/usr/bin/ruby", "puma 6.4.0 (tcp://0.0.0.0:80) [shop]", "puma", Some("ruby"));
        check("/usr/bin/ruby3.1", "ruby|-e|sleep", "ruby", Some("ruby"));
        check("/usr/bin/perl", "perl|-w|-I|lib|/srv/app.pl", "app", None);
        check("/usr/bin/perl", "perl|-e|sleep 1", "perl", None);
        check("/usr/sbin/php-fpm8.2", "php-fpm: pool www", "php-fpm", Some("php"));
        check(
            "/usr/sbin/php-fpm8.2",
            "php-fpm: master process (/etc/x.conf)",
            "php-fpm",
            Some("php"),
        );
        check("/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm8.2|--nodaemonize", "php-fpm", Some("php"));
        check("/usr/bin/php8.2", "php|artisan|serve", "artisan", Some("php"));
        check(
            "/usr/bin/php8.2",
            "php|-d|a=b|-S|0.0.0.0:80|-t|public|router.php",
            "router",
            Some("php"),
        );
        check("/usr/bin/php", "php|-r|echo 1;", "php", Some("php"));
        check("/bin/bash", "bash|/srv/start.sh|x", "start", None);
        check("/bin/bash", "bash|-e|-o|pipefail|run", "run", None);
        check("/bin/dash", "sh|-c|sleep 1; true", "dash", None);
        check("/bin/bash", "-bash", "bash", None);
        check("/bin/bash", "bash|/dev/fd/3", "bash", None);
        check("/bin/bash", "bash|/proc/self/fd/3|x", "bash", None);
        check("/bin/bash", "bash|-euo|pipefail|-c|x", "bash", None);
        check("/usr/bin/deno", "deno|run|--allow-net|-c|deno.json|main.ts", "main", None);
        check("/usr/bin/deno", "deno|task|start", "deno", None);
        check("/usr/bin/bun", "bun|run|server.ts", "server", None);
        check("/usr/bin/bun", "bun|run|start", "bun", None);
        check(
            "/usr/lib/erlang/erts-14/bin/beam.smp",
            "/usr/lib/erlang/bin/beam.smp|-W|w|--|-root|/x|-sname|rabbit@host",
            "rabbit",
            Some("erlang"),
        );
        check("/usr/lib/erlang/bin/beam.smp", "beam.smp|--|-root|/x", "beam.smp", Some("erlang"));
    }

    #[test]
    fn names_are_bounded_and_clean() {
        let check = check_program;
        check("", &"ü".repeat(300), &"ü".repeat(100), None);
        check("/x/ a\u{7}b ", "", "ab", None);
        check("", "  ", "thread", None);
    }
}
