//! The protocol to the host: lines on the second serial port, where nothing else writes, so that
//! messages of the kernel never cut through one.
//!
//! | line | meaning |
//! |---|---|
//! | `begin NAME BACKEND` | a test starts |
//! | `ok NAME BACKEND SECONDS` | it passed |
//! | `fail NAME BACKEND SECONDS REASON` | it did not |
//! | `skip NAME BACKEND REASON` | it cannot run here |
//! | `log TEXT` | a line of the log of the test that failed last |
//! | `figure JSON` | a result of the benchmark |
//! | `done` | all was run; the machine is about to power off |

use std::fs::OpenOptions;
use std::io::Write as _;

const PORT: &str = "/dev/ttyS1";

/// Sends one line. There is nobody to tell when the port does not work: the host sees that nothing
/// comes.
pub(crate) fn line(text: &str) {
    let Ok(mut port) = OpenOptions::new().write(true).open(PORT) else { return };
    let mut text = text.replace('\n', " ");
    text.push('\n');
    let _ = port.write_all(text.as_bytes());
}
