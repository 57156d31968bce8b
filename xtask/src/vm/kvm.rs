//! Whether the host's own processors can be used: a machine is really booted, as a device that opens
//! may still hang.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::machine::{Boot, End, Processors};

const LIMIT: Duration = Duration::from_secs(15);

/// Boots an image with KVM, at most once for each boot of the host: the answer is kept in `folder`.
pub(crate) fn works(kernel: &Path, initramfs: &Path, folder: &Path) -> Result<bool> {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(false);
    }
    let host = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("boot id")?;
    let kept = folder.join("kvm");
    if let Ok(text) = fs::read_to_string(&kept)
        && let Some(answer) = text.strip_prefix(&host)
    {
        return Ok(answer.trim() == "works");
    }
    eprintln!("vm: does KVM work? ({} s at most)", LIMIT.as_secs());
    let log = folder.join("kvm.log");
    let boot = Boot {
        kernel,
        initramfs,
        work: "nothing:",
        processors: Processors::Kvm,
        silence: LIMIT,
        limit: LIMIT,
        log: &log,
    };
    let works = boot.run(|_| {})?.end == End::Done;
    eprintln!("vm: KVM {}", if works { "works" } else { "does not work: software emulation" });
    let answer = if works { "works" } else { "does not work" };
    fs::write(&kept, format!("{host}{answer}\n")).context("keeping what is known of KVM")?;
    Ok(works)
}
