//! What the kernel programs log with `info!`, among vigie's own messages. For development only: the
//! feature `log`, off by default, builds both sides.

use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Time between two looks at the ring of messages.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Begins to pass on messages, to the end of the process. To be called once the programs are loaded.
pub(super) fn start(ebpf: &mut Ebpf) {
    let mut logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => {
            tracing::warn!(%error, "messages of the kernel programs are not shown");
            return;
        }
    };
    let thread = std::thread::Builder::new().name("vigie-log".into()).spawn(move || {
        loop {
            logger.flush();
            std::thread::sleep(LOOK_EVERY);
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "messages of the kernel programs are not shown");
    }
}
