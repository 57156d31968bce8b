//! The examples of RFC 7541, appendix C, tables that are not known, and hostile blocks.

use super::*;
use crate::protocol::testing::Random;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> (String, Result<Decoded, Broken>) {
    let mut text = String::new();
    let result = decoder.decode(block, |name, value| {
        let show = |bytes: Option<&[u8]>| {
            bytes.map_or_else(|| "?".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        text.extend([&show(name), "=", &show(value), " "]);
    });
    (text.trim_end().to_owned(), result)
}

#[track_caller]
fn check(blocks: &[(&str, &str)]) {
    let mut decoder = Decoder::new();
    for (block, expected) in blocks {
        let (text, result) = read(&mut decoder, &hex(block));
        assert_eq!((text.as_str(), result), (*expected, Ok(Decoded::default())));
    }
}

#[test]
fn requests_of_appendix_c() {
    let first = ":method=GET :scheme=http :path=/ :authority=www.example.com";
    let second = format!("{first} cache-control=no-cache");
    let third = ":method=GET :scheme=https :path=/index.html :authority=www.example.com \
                 custom-key=custom-value";
    check(&[
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first),
        ("8286 84be 5808 6e6f 2d63 6163 6865", &second),
        ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", third),
    ]);
    check(&[
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first),
        ("8286 84be 5886 a8eb 1064 9cbf", &second),
        ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third),
    ]);
}

#[test]
fn responses_of_appendix_c_with_a_table_of_256_bytes() {
    let rest = "cache-control=private date=Mon, 21 Oct 2013 20:13:21 GMT \
                location=https://www.example.com";
    check(&[
        (
            "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 \
             2e63 6f6d",
            &format!(":status=302 {rest}"),
        ),
        ("4803 3330 37c1 c0bf", &format!(":status=307 {rest}")),
        (
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 \
             5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 \
             5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
            ":status=200 cache-control=private date=Mon, 21 Oct 2013 20:13:22 GMT \
             location=https://www.example.com content-encoding=gzip \
             set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ]);
}

#[test]
fn what_an_older_table_holds_is_not_invented() {
    let mut decoder = Decoder::new();
    decoder.forget(Flags::MID_STREAM);
    let unknown = Ok(Decoded { unknown: Some(Flags::MID_STREAM), too_long: false });
    // Indexed, and a new value for an indexed name, which is kept.
    let (text, result) = read(&mut decoder, &hex("82 be 7f 00 01 76"));
    assert_eq!((text.as_str(), result), (":method=GET ?=? ?=v", unknown));
    // The entry with the unknown name is the newest now; a whole one before it.
    let (text, result) = read(&mut decoder, &hex("44 02 2f61 be bf c0"));
    assert_eq!((text.as_str(), result), (":path=/a :path=/a ?=v ?=?", unknown));
    // A size update to 0 empties the table on both sides.
    let (text, result) = read(&mut decoder, &hex("20 3f e1 1f 44 02 2f62 be"));
    assert_eq!((text.as_str(), result), (":path=/b :path=/b", Ok(Decoded::default())));
    assert_eq!(read(&mut decoder, &hex("bf")).1, Err(Broken));
}

#[test]
fn broken_blocks() {
    for block in ["80", "be", "40", "4001", "400161", "0f", "3fffffffff7f", "8220", "ffffffffff0f"]
    {
        assert_eq!(read(&mut Decoder::new(), &hex(block)).1, Err(Broken), "{block}");
    }
}

#[test]
fn a_small_block_cannot_stand_for_much() {
    let mut decoder = Decoder::new();
    let mut block = hex("40 01 61 7f 81 1e");
    block.extend([b'x'; 3968]);
    assert!(decoder.decode(&block[..], |_, _| {}).is_ok());
    let mut given = 0;
    let bomb = decoder.decode(&vec![0xbe; 60_000], |_, _| given += 1).unwrap();
    assert!(bomb.too_long && given < 300, "{given}");
}

#[test]
fn any_bytes_are_survived() {
    let mut random = Random(5);
    let mut decoder = Decoder::new();
    for round in 0..20_000 {
        let length = random.below(200);
        let block: Vec<u8> =
            (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        if decoder.decode(&block, |_, _| {}).is_err() {
            decoder.forget(Flags::TRUNCATED);
        }
        assert!(decoder.memory() < 4 * table::MAX_SIZE, "round {round}");
    }
}
