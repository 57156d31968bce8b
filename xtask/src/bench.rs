//! stub
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
pub(crate) fn task(_: &crate::workspace::Workspace, _: &Args) -> anyhow::Result<()> {
    Ok(())
}
