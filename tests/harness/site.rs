//! Every server of the accuracy table, running side by side.

use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::nginx::{Nginx, Upstreams};
use crate::workload::{Exchange, Server};

/// Which server a row talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// nginx over TCP.
    Nginx,
    /// nginx over a unix socket.
    NginxUnix,
    /// `http.server` as HTTP/1.0.
    PythonHttp10,
    /// `http.server` as HTTP/1.1.
    PythonHttp11,
    /// The asyncio server.
    Scripted,
    /// The asyncio server over a unix socket.
    ScriptedUnix,
    /// The asyncio server over IPv6 (`::1`).
    ScriptedV6,
    /// The same, reached over an IPv4-mapped address.
    ScriptedMapped,
    /// Node.
    Node,
    /// The C program with these calls.
    Wire {
        /// Its form of sending.
        send: &'static str,
        /// Its form of receiving.
        receive: &'static str,
    },
}

/// All of them but the C program, which is started for each row.
pub struct Site {
    /// nginx, in front of the two scripted servers.
    pub nginx: Nginx,
    /// `http.server` as HTTP/1.0.
    pub python10: Server,
    /// `http.server` as HTTP/1.1.
    pub python11: Server,
    /// The asyncio server.
    pub scripted: Server,
    /// The same over IPv6.
    pub scripted_v6: Server,
    /// The same over a unix socket.
    pub scripted_unix: Server,
    /// Node.
    pub node: Server,
    _folder: TempDir,
}

impl Site {
    /// Starts all and waits until they accept.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Path of a unix socket that nginx' workers, who may be another user, can open.
        std::fs::set_permissions(folder.path(), open_to_all())?;
        let socket = folder.path().join("scripted.sock");
        let path = socket.to_string_lossy();
        let scripted = Server::python("scripted", "scripted_server.py", &[])?;
        let scripted_unix =
            Server::python("scripted-unix", "scripted_server.py", &["--unix", &path])?;
        make_open(&socket)?;
        let nginx =
            Nginx::start(&Upstreams { tcp: scripted.target(), unix: scripted_unix.target() })?;
        Ok(Self {
            nginx,
            python10: Server::python("python10", "http_server.py", &["--protocol", "HTTP/1.0"])?,
            python11: Server::python("python11", "http_server.py", &["--protocol", "HTTP/1.1"])?,
            scripted,
            scripted_v6: Server::python("scripted-v6", "scripted_server.py", &["--host", "::"])?,
            scripted_unix,
            node: Server::node("node")?,
            _folder: folder,
        })
    }

    /// Where a client reaches this server; `None` for the C program.
    pub fn target(&self, name: Name) -> Option<String> {
        Some(match name {
            Name::Nginx => self.nginx.target(),
            Name::NginxUnix => self.nginx.unix_target(),
            Name::ScriptedMapped => format!("[::ffff:127.0.0.1]:{}", self.scripted_v6.port()),
            _ => self.server(name)?.target().to_owned(),
        })
    }

    /// What this server has logged; nothing for the C program.
    pub fn exchanges(&self, name: Name) -> Result<Vec<Exchange>> {
        match name {
            Name::Nginx | Name::NginxUnix => self.nginx.exchanges(),
            _ => self.server(name).map_or_else(|| Ok(Vec::new()), Server::exchanges),
        }
    }

    /// The servers that are workloads, not nginx and not the C program.
    pub fn server(&self, name: Name) -> Option<&Server> {
        Some(match name {
            Name::PythonHttp10 => &self.python10,
            Name::PythonHttp11 => &self.python11,
            Name::Scripted => &self.scripted,
            Name::ScriptedUnix => &self.scripted_unix,
            Name::ScriptedV6 | Name::ScriptedMapped => &self.scripted_v6,
            Name::Node => &self.node,
            Name::Nginx | Name::NginxUnix | Name::Wire { .. } => return None,
        })
    }

    /// Process ids of everything that answers.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = self.nginx.workers()?;
        for server in [
            &self.python10,
            &self.python11,
            &self.scripted,
            &self.scripted_v6,
            &self.scripted_unix,
            &self.node,
        ] {
            pids.extend(&server.pids);
        }
        Ok(pids)
    }
}

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o777)
}

fn make_open(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, open_to_all())?;
    Ok(())
}
