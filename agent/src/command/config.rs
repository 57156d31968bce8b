//! `vigie config`: check, show and explain the configuration.

use clap::{Args, Subcommand};

use super::{Common, Failure};
use crate::config::{Config, Overrides};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Whether the configuration is right; exit code 2 when it is not
    Check,
    /// The configuration in force, from default, file, environment and flags
    Show,
    /// JSON schema of the file
    Schema,
    /// Reference of every key
    Reference,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::Check => {
            super::load(common, Overrides::default())?;
            println!("configuration ok");
        }
        What::Show => print!("{}", super::load(common, Overrides::default())?.show()),
        What::Schema => println!("{:#}", Config::schema()),
        What::Reference => print!("{}", Config::reference()),
    }
    Ok(())
}
