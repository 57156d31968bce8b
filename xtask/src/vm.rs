//! `cargo xtask vm`: the tests on stock kernels, each in a virtual machine.

mod console;
mod cpio;
pub(crate) mod image;
pub(crate) mod machine;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Where initramfs and logs go.
pub(crate) fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}
