//! A history of endpoints from any bytes: it is refused, or it is one that can be written and read again,
//! goes on, and suggests something or says why not. The bytes may be those of a damaged state folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie::slo::history::{History, MAX_BLOB_BYTES, MAX_ENDPOINTS, MAX_ROW_BYTES};
use vigie_slo::suggest::Options;

fuzz_target!(|input: &[u8]| {
    let Ok(history) = History::of_file(input) else { return };
    assert!(history.len() <= MAX_ENDPOINTS && history.row_bytes() <= MAX_ROW_BYTES);
    let blobs = history.encode(MAX_BLOB_BYTES);
    let [blob] = blobs.as_slice() else { panic!("{} blobs of {}", blobs.len(), input.len()) };
    let again = History::of_file(blob).expect("what was written can be read");
    assert_eq!(again.encode(MAX_BLOB_BYTES), blobs);
    if let Ok(suggested) = history.suggest(&Options { min_span_s: 60, routes: 2 }) {
        assert!(suggested.slos.len() + suggested.omitted.len() > 0);
        let _ = suggested.text();
    }
    let now = 1_795_000_000;
    let (mut history, errors) = History::decode([input], now);
    assert!(errors.is_empty());
    history.observe(&[], now + 60);
});
