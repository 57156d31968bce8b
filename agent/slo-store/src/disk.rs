//! The writer's side of the files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::time::Instant;

use crate::folder::{self, Ensure, Folder};
use crate::frame::{self, Kind};
use crate::journal::{self, Member, ROSTER_EVERY, SEGMENT_BYTES};
use crate::snapshot;
use crate::status::Cause;

/// Longest that the journal gets in all, where snapshots cannot be written.
const MAX_JOURNAL: u64 = 64 << 20;
const JOURNAL: &str = "journal-";

/// Number of the first record of a segment, by the name of its file.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(JOURNAL)?, 16).ok()
}

/// A segment that nothing is added to any more.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) name: String,
    /// Number of its last record.
    pub(crate) last: u64,
    pub(crate) bytes: u64,
    /// It goes aside instead of being removed.
    pub(crate) damaged: bool,
}

#[derive(Debug)]
struct Segment {
    name: String,
    file: File,
    /// Bytes of whole records.
    bytes: u64,
    records_since_roster: u64,
    last: u64,
    /// Something was written that is not safe yet.
    dirty: bool,
}

/// Records that go to the journal.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) bytes: Vec<u8>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) count: u64,
}

#[derive(Debug)]
pub(crate) struct Disk {
    folder: Folder,
    members: Vec<Member>,
    segment: Option<Segment>,
    closed: Vec<Closed>,
    /// Per SLO, number of the last record that its snapshot on the disk has in it.
    kept: Vec<u64>,
    /// Damaged files that could not be put aside yet. Nothing is written over them.
    aside: Vec<String>,
    /// Number of the last record that was appended.
    pub(crate) appended: u64,
    /// Bytes written to all files.
    pub(crate) written: u64,
    /// Files put aside.
    pub(crate) put_aside: u64,
    /// Longest `fdatasync` of the journal, in microseconds.
    pub(crate) longest_sync_us: u64,
}

/// What became of a try.
pub(crate) type Tried = Result<(), Cause>;

impl From<Ensure> for Cause {
    fn from(error: Ensure) -> Self {
        match error {
            Ensure::Taken(_) => Self::InUse,
            Ensure::Io(error) => Self::from(&error),
        }
    }
}

fn tried<T>(result: io::Result<T>) -> Result<T, Cause> {
    result.map_err(|error| Cause::from(&error))
}

impl Disk {
    pub(crate) fn new(
        folder: Folder,
        members: Vec<Member>,
        kept: Vec<u64>,
        closed: Vec<Closed>,
        aside: Vec<String>,
    ) -> Self {
        Self {
            folder,
            members,
            segment: None,
            closed,
            kept,
            aside,
            appended: 0,
            written: 0,
            put_aside: 0,
            longest_sync_us: 0,
        }
    }

    /// Adds records to the journal. They are with the kernel then, so that they outlive the process;
    /// [`Self::sync`] makes them outlive the machine. On an error none of them is added.
    pub(crate) fn append(&mut self, records: &Records) -> Tried {
        if self.segment.as_ref().is_some_and(|segment| segment.bytes >= SEGMENT_BYTES) {
            self.sync()?;
            self.close();
        }
        let bytes: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        if bytes >= MAX_JOURNAL {
            return Err(Cause::TooLong);
        }
        if self.segment.is_none() {
            self.segment = Some(self.begin(records.first)?);
        }
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let mut bytes = Vec::new();
        if segment.records_since_roster >= ROSTER_EVERY {
            bytes = journal::roster(&self.members);
        }
        let roster = !bytes.is_empty();
        bytes.extend(&records.bytes);
        segment.dirty = true;
        if let Err(error) = segment.file.write_all(&bytes) {
            // What is not whole is cut off, so that the next try has it once only.
            let cut = segment.file.set_len(segment.bytes);
            if cut.and_then(|()| segment.file.seek(SeekFrom::Start(segment.bytes))).is_err() {
                self.close();
            }
            return Err(Cause::from(&error));
        }
        segment.bytes += bytes.len() as u64;
        segment.last = records.last;
        self.appended = records.last;
        segment.records_since_roster =
            if roster { 0 } else { segment.records_since_roster } + records.count;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, first: u64) -> Result<Segment, Cause> {
        self.folder.ensure()?;
        self.retry_aside()?;
        let name = format!("{JOURNAL}{first:016x}");
        let path = self.folder.file(&name);
        // One of the same number was begun and then given up before anything was in it.
        self.closed.retain(|closed| closed.name != name);
        let mut bytes = Kind::Journal.start().to_vec();
        bytes.extend(journal::roster(&self.members));
        let mut file = tried(folder::create(&path))?;
        if let Err(error) = file.write_all(&bytes).and_then(|()| self.folder.sync()) {
            let _ = self.folder.remove(&name);
            return Err(Cause::from(&error));
        }
        let bytes = bytes.len() as u64;
        self.written += bytes;
        Ok(Segment { name, file, bytes, records_since_roster: 0, last: first, dirty: true })
    }

    fn close(&mut self) {
        if let Some(Segment { name, bytes, last, .. }) = self.segment.take() {
            self.closed.push(Closed { name, last, bytes, damaged: false });
        }
    }

    /// Makes the journal safe. On an error the segment is given up: what became of it is not known, and
    /// all SLOs need new snapshots.
    pub(crate) fn sync(&mut self) -> Tried {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let path = self.folder.file(&segment.name);
        if !folder::is_same(&segment.file, &path).unwrap_or(false) {
            self.segment = None;
            self.closed.clear();
            self.kept.fill(0);
            return Err(Cause::Vanished);
        }
        if !std::mem::take(&mut segment.dirty) {
            return Ok(());
        }
        let before = Instant::now();
        let synced = segment.file.sync_data();
        let took = u64::try_from(before.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.longest_sync_us = self.longest_sync_us.max(took);
        synced.map_err(|error| {
            self.close();
            Cause::from(&error)
        })
    }

    /// Writes the snapshot of an SLO, and removes segments that no snapshot needs any more.
    pub(crate) fn snapshot(&mut self, slo: usize, seq: u64, content: &[u8]) -> Tried {
        let Some(member) = self.members.get(slo) else { return Ok(()) };
        let file = frame::seal(Kind::Snapshot, content);
        let name = snapshot::file_name(&member.key);
        self.replace(&name, &file)?;
        if let Some(kept) = self.kept.get_mut(slo) {
            *kept = seq;
        }
        let needed = self.kept.iter().copied().min().unwrap_or(u64::MAX);
        let (old, new): (Vec<Closed>, Vec<Closed>) =
            self.closed.drain(..).partition(|closed| closed.last <= needed);
        self.closed = new;
        for Closed { name, damaged, .. } in old {
            // One that stays is replayed without effect, and found again at the next start.
            if damaged {
                self.put_aside += u64::from(self.folder.put_aside(&name).is_ok());
            } else {
                let _ = self.folder.remove(&name);
            }
        }
        Ok(())
    }

    /// Writes a blob.
    pub(crate) fn blob(&mut self, name: &str, content: &[u8]) -> Tried {
        self.replace(&snapshot::blob_name(name), &frame::seal(Kind::Blob, content))
    }

    fn replace(&mut self, name: &str, file: &[u8]) -> Tried {
        self.retry_aside()?;
        tried(self.folder.write(name, file))?;
        tried(self.folder.sync())?;
        self.written += file.len() as u64;
        Ok(())
    }

    /// Names of the blobs that there are.
    pub(crate) fn blob_names(&self) -> BTreeSet<String> {
        let names = self.folder.names().unwrap_or_default();
        names.iter().filter_map(|name| snapshot::blob_of(name)).map(str::to_owned).collect()
    }

    /// Takes the folder again, after it could not be used.
    pub(crate) fn ensure(&mut self) -> Tried {
        Ok(self.folder.ensure()?)
    }

    fn retry_aside(&mut self) -> Tried {
        while let Some(name) = self.aside.last() {
            if self.folder.file(name).exists() {
                tried(self.folder.put_aside(name))?;
                self.put_aside += 1;
            }
            self.aside.pop();
        }
        Ok(())
    }
}
