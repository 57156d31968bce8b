//! Tables of what is an identifier and what is a word.

use super::*;

fn check(expected: bool, segments: &[&str]) {
    let wrong: Vec<&&str> =
        segments.iter().filter(|segment| is_identifier(segment) != expected).collect();
    assert!(wrong.is_empty(), "not {expected}: {wrong:?}");
}

#[test]
fn numbers_dates_and_addresses_are_identifiers() {
    check(
        true,
        &[
            "0",
            "17",
            "-12",
            "123456789012345678901234567890",
            "3.14",
            "48.85,2.35",
            "1,2,3",
            "2024-01-02",
            "20240102",
            "2024-01-02T12:00:00Z",
            "20240102T120000Z",
            "12:30",
            "jan-2024",
            "2024Q1",
            "10.0.0.1",
            "fe80::1",
            "+49301234567",
            "555-1234",
            "a@b.example",
            "first.last+tag@mail.example.org",
            "user%40mail.example",
        ],
    );
}

#[test]
fn tokens_are_identifiers() {
    check(
        true,
        &[
            "550e8400-e29b-41d4-a716-446655440000",
            "{550E8400-E29B-41D4-A716-446655440000}",
            "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "550e8400e29b41d4a716446655440000",
            "3f2a9c1b",
            "d41d8cd98f00b204e9800998ecf8427e",
            "0xdeadbeef",
            "0x1f",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "507f1f77bcf86cd799439011",
            "dQw4w9WgXcQ",
            "V1StGXR8_Z5jdHi6B-myT",
            "eyJhbGciOiJIUzI1NiJ9",
            "aGVsbG8gd29ybGQ=",
            "QmFzZTY0IQ==",
            "cus_NffrFeUfNV2Hib",
            "a1b2",
            "abc123",
            "user12345",
            "xkqpzvwbtrng",
            "BwtlqkzRnxGh",
            "ghp_xYzQrWvTbNkLpMjHgFdS",
        ],
    );
}

#[test]
fn compounds_with_an_identifier_are_identifiers() {
    check(
        true,
        &[
            "user-17",
            "user_17",
            "user.17",
            "item:17",
            "id=17",
            "17:activate",
            "Users(17)",
            "order-12345-paid",
            "2024-summer-sale",
            "main.3f2a9c1b.js",
            "12345.jpg",
            "IMG_1234.JPG",
            "report-2024-01-02.pdf",
            "hello%20world",
            "group%2Fproject",
            "how-to-write-a-title-that-is-so-long-that-it-names-one-thing-only",
        ],
    );
}

#[test]
fn words_are_not_identifiers() {
    check(
        false,
        &[
            "users",
            "getUserById",
            "XMLHttpRequest",
            "a",
            "-",
            "...",
            "me",
            "en-US",
            "USD",
            "strengths",
            "Rechtschreibung",
            "Knightsbridge",
            "authentication",
            "healthz",
            "readyz",
            "wp-admin",
            "phpmyadmin",
            "graphql",
            "favicon",
            "_search",
            "_bulk",
            "~user",
            "$metadata",
            "@angular",
            ".well-known",
            "caf%C3%A9",
            "%E4%B8%AD%E6%96%87",
            "how-to-bake-bread",
            "top-10-films",
            "hello+world",
            "deadbeef",
            "example.com",
            "kubernetes",
            "nginx_status",
            "server-status",
            "percent%",
        ],
    );
}

#[test]
fn versions_and_short_names_with_digits_are_not_identifiers() {
    check(
        false,
        &[
            "v1",
            "v2",
            "V3",
            "v1.2",
            "v1.2.3",
            "v1beta1",
            "v2alpha",
            "v3rc2",
            "1.1",
            "oauth2",
            "s3",
            "ipv4",
            "mp3",
            "k8s",
            "i18n",
            "b2b",
            "3d",
            "2fa",
            "base64",
            "sha256",
            "utf-8",
            "x86_64",
            "x509",
            "amd64",
            "page2",
            "web3js",
            "oauth2-callback",
            "Q1",
        ],
    );
    check(true, &["v20240101", "v1234", "1.10", "2.0.1"]);
}

#[test]
fn files_are_not_identifiers() {
    check(
        false,
        &[
            "app.js",
            "index.html",
            "robots.txt",
            "favicon.ico",
            "app.min.js",
            "style.css.map",
            "logo@2x.png",
            "sitemap1.xml",
            "archive.tar.gz",
            "font.woff2",
            "jquery-3.6.0.min.js",
            ".env",
            "wp-login.php",
            "video.mp4",
        ],
    );
}

#[test]
fn decodes_what_is_well_formed() {
    for (encoded, expected) in
        [("a%20b", "a b"), ("%2", "%2"), ("%zz", "%zz"), ("%", "%"), ("%41%c3%A9", "Aé")]
    {
        assert_eq!(decoded(encoded), expected);
    }
}
