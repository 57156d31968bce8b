//! Where things are in a checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of one checkout that tasks work with.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout that this xtask was built from.
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run`; the compiled-in value serves an xtask that is started by hand.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("the xtask crate has no parent folder")?.to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(PathBuf::from(dir)));
        Ok(Self { root, target })
    }

    /// Workspace root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder of ordinary builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Everything that set-up makes. Always below the checkout, whatever `CARGO_TARGET_DIR` says:
    /// the agent's build script and the tests look here.
    pub(crate) fn setup(&self) -> PathBuf {
        self.root.join("target/setup")
    }

    /// The agent, built with optimizations.
    pub(crate) fn agent(&self) -> PathBuf {
        self.target.join("release/vigie")
    }
}
