//! What a process's control group says: its systemd unit, its container.
//!
//! `/proc/PID/cgroup` (cgroups(7)) has a line `hierarchy:controllers:path` per hierarchy: one in
//! v2 (`0::/…`), several in v1, both in a mixed set-up, where systemd's own hierarchy is the one
//! that tells the unit.

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// Service by systemd's unit, without `.service`; none in a container.
    pub(super) unit: Option<String>,
    /// Container id, 64 hex digits.
    pub(super) container: Option<String>,
}

/// Reads the text of `/proc/PID/cgroup`.
pub(super) fn placement(text: &str) -> Placement {
    let lines = || {
        text.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
    };
    if let Some(container) = lines().find_map(|(_, path)| container(path)) {
        return Placement { unit: None, container: Some(container.to_owned()) };
    }
    let systemd = lines().filter(|(controllers, _)| *controllers == "name=systemd");
    let unified = lines().filter(|(controllers, _)| controllers.is_empty());
    let others = lines().filter(|(controllers, _)| !matches!(*controllers, "name=systemd" | ""));
    let unit = systemd.chain(unified).chain(others).find_map(|(_, path)| unit(path));
    Placement { unit, container: None }
}

/// Container id in a path, the innermost one. Runtimes write it bare (`/docker/ID`), as a scope
/// (`docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`) or behind a
/// colon (`…slice:cri-containerd:ID`).
fn container(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|segment| {
        // The monitor of a container is outside it, and has the id in its name.
        if segment.contains("conmon") {
            return None;
        }
        let segment = segment.strip_suffix(".scope").unwrap_or(segment);
        let id = segment.rsplit(['-', ':']).next().unwrap_or(segment);
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

/// Service that the innermost telling unit of a path stands for.
fn unit(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|segment| {
        if let Some(name) = segment.strip_suffix(".service") {
            return service(name);
        }
        segment.strip_suffix(".scope").and_then(application)
    })
}

/// `nginx` is itself. The manager of a user's units is no service, and what `systemd-run` makes up
/// (`run-u12`, `run-r3f…`) is another name at each start.
fn service(name: &str) -> Option<String> {
    if name.starts_with("user@") || name.starts_with("run-") || name.is_empty() {
        return None;
    }
    if name.starts_with("app-") {
        return application(name);
    }
    Some(unescaped(name))
}

/// Application in a unit of a desktop session: `app[-LAUNCHER]-APPLICATION-RANDOM.scope` and
/// `app[-LAUNCHER]-APPLICATION[@RANDOM].service` (the XDG part of systemd's documentation, DESKTOP
/// ENVIRONMENTS). A `-` in one of the parts is escaped. Other scopes (`session-2`, `init`, those of
/// `systemd-run` and of virtual machines) name no service.
fn application(name: &str) -> Option<String> {
    let name = name.strip_prefix("app-")?;
    let name = match name.split_once('@') {
        Some((name, _)) => name,
        None => match name.rsplit_once('-') {
            Some((name, random)) if random.bytes().any(|byte| byte.is_ascii_digit()) => name,
            _ => name,
        },
    };
    let application = name.rsplit('-').next().filter(|application| !application.is_empty())?;
    Some(unescaped(application))
}

/// Undoes systemd's `\xNN` (systemd.unit(5)). Anything else stays.
fn unescaped(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (Some(byte), Some(rest)) = (byte.filter(u8::is_ascii), part.get(2..)) {
            out.push(char::from(byte));
            out.push_str(rest);
        } else {
            out.push_str("\\x");
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(text: &str, unit: Option<&str>, has_container: bool) {
        let text = text.replace("ID", ID);
        let expected = Placement {
            unit: unit.map(str::to_owned),
            container: has_container.then(|| ID.to_owned()),
        };
        assert_eq!(placement(&text), expected, "{text}");
    }

    #[test]
    fn units() {
        check("0::/system.slice/nginx.service", Some("nginx"), false);
        check(
            "0::/system.slice/system-postgresql.slice/postgresql@15-main.service",
            Some("postgresql@15-main"),
            false,
        );
        check("0::/system.slice/nginx.service/worker", Some("nginx"), false);
        check("0::/system.slice/my\\x2dapp.service", Some("my-app"), false);
        check("0::/user.slice/user-1000.slice/session-3.scope", None, false);
        check("0::/user.slice/user-1000.slice/user@1000.service/init.scope", None, false);
        check(
            "0::/user.slice/user-0.slice/user@0.service/app.slice/api.service",
            Some("api"),
            false,
        );
        check("0::/user.slice/u/user@1000.service/app.slice/app-foo-123.scope", Some("foo"), false);
        check(
            "0::/user.slice/u/user@1.service/app.slice/app-gnome-org.gnome.Maps-4242.scope",
            Some("org.gnome.Maps"),
            false,
        );
        check(
            "0::/user.slice/u/user@1.service/app.slice/app-my\\x2dtool-9.scope",
            Some("my-tool"),
            false,
        );
        check(
            "0::/user.slice/u/user@1.service/app.slice/app-foo@autostart.service",
            Some("foo"),
            false,
        );
        check("0::/system.slice/run-u12.service", None, false);
        check("0::/system.slice/run-r0a1b.scope", None, false);
        check("0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", None, false);
        check("0::/init.scope", None, false);
        check("0::/", None, false);
        check("", None, false);
        check("nonsense\n1:2\n", None, false);
    }

    #[test]
    fn hierarchies() {
        check(
            "12:cpu,cpuacct:/system.slice/b.service\n1:name=systemd:/system.slice/a.service\n",
            Some("a"),
            false,
        );
        check("9:name=systemd:/\n4:memory:/process\n0::/", None, false);
        check(
            "1:name=systemd:/system.slice/a.service\n0::/system.slice/c.service\n",
            Some("a"),
            false,
        );
        check(
            "5:memory:/system.slice/only-memory.service\n1:name=systemd:/\n",
            Some("only-memory"),
            false,
        );
    }

    #[test]
    fn containers() {
        check("0::/docker/ID", None, true);
        check("0::/system.slice/docker-ID.scope", None, true);
        check(
            "12:pids:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
            None,
            true,
        );
        check("0::/kubepods/burstable/podf00/ID", None, true);
        check(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podf00.slice/cri-containerd-ID.scope",
            None,
            true,
        );
        check("0::/kubepods.slice/kubepods-podf00.slice/crio-ID.scope", None, true);
        check("0::/kubepods.slice/kubepods-podf00.slice/crio-ID.scope/container", None, true);
        check(
            "11:cpu:/system.slice/containerd.service/kubepods-podf00.slice:cri-containerd:ID",
            None,
            true,
        );
        check("0::/machine.slice/libpod-ID.scope/container", None, true);
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            None,
            true,
        );
        check("0::/../../kubepods/besteffort/podf00/ID", None, true);
        check("0::/machine.slice/libpod-conmon-ID.scope", None, false);
        check("0::/system.slice/docker-0123.scope", None, false);
    }
}
