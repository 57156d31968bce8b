//! vigie: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    vigie::command::main()
}
