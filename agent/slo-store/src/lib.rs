//! Keeps what SLOs have come to: across restarts, kill −9, full and damaged disks.
//!
//! A folder (`slo` in the agent's `--state`) has
//! - `slo-NAME`: a snapshot per SLO, written in turn, each about every half hour ([`schedule`]);
//! - `journal-NUMBER`: what all evaluators were given at each tick since ([`journal`]); written at once, so
//!   that kill −9 costs at most the tick under way, and made safe every [`FLUSH_S`] s, the most that a
//!   crash of the machine costs;
//! - `blob-NAME`: small states of others ([`Blobs`]);
//! - `aside/`: what was damaged, for a look; `lock`.
//!
//! [`open()`] decodes the snapshots and replays the journal, through the same evaluators. All files have
//! versions and checksums. What is damaged is put aside and told, and as much as can be is used: a spoilt
//! record of the journal costs one tick, a spoilt snapshot the counts of one SLO before the journal began.
//! Where nothing can be written evaluation goes on in memory; that is told once, and writing goes on by itself.
//! Files that are whole are only ever replaced by whole ones.
//!
//! Bounds: the journal 64 MiB (usually below 3), records that wait 512 KiB, snapshots that wait 2, blobs 32 of
//! 1 MiB, files put aside 32, SLOs that are not configured any more 1,000 and 30 days.
//!
//! # Alternatives that were turned down
//!
//! - **redb** (a B-tree with copy on write). Its pages have checksums, but reads do not verify them: of
//!   8,224 single damaged bytes 57 made the process panic or abort and most of the others went unnoticed
//!   (its issue 1334); its repair may panic as well, after which the file cannot be opened (1333), as
//!   after a full disk (620). An agent that must outlive a damaged disk cannot have that in its process. Its
//!   cache is 1 GiB unless told otherwise, and one file for all SLOs means that damage costs all of them.
//!   What is kept here is appended or replaced whole, for which nothing is to be searched.
//! - **`SQLite`**: needs a C compiler; verifies no checksums of pages either, without an extension.
//! - **Snapshots without a journal**: 7 MB every 10 s for 200 SLOs, or losing more than that.
//! - **A journal without snapshots**: 30 days of it are 1.3 GB, all replayed at each start.
//! - **Mapped files as rings**: no checksum could be kept up, a full disk is a signal (SIGBUS), and kill −9
//!   may leave two entries that do not belong together.
#![forbid(unsafe_code)]

mod blobs;
mod disk;
mod folder;
mod frame;
mod journal;
mod name;
mod open;
mod report;
mod schedule;
mod snapshot;
mod status;
mod store;
mod writer;

pub use blobs::{BlobError, Blobs, MAX_BLOB, MAX_BLOBS};
pub use journal::Input;
pub use open::{OpenError, Opened, evaluator, open};
pub use report::{Finding, Note, Report};
pub use status::{Cause, Part, Status};
pub use store::{FLUSH_S, Store};
