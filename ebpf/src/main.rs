//! vigie's kernel programs.
//!
//! A program identifies the connection, classifies it, copies the bytes that matter and counts
//! everything. It parses nothing beyond the first bytes of a message.
//!
//! - [`probes`]: one module per group of hooks, the only entry points
//! - [`socket`]: from a file descriptor to the socket
//! - [`connection`]: what is kept per connection, its turns and its class
//! - [`process`]: who is watched
//! - [`entered`]: when the write of a thread began
//! - [`iterator`]: the user memory behind a kernel's iterator
//! - [`work`]: the state of one call's handling
//! - [`segment`]: the user memory that a call read or wrote; [`first`]: what it begins with
//! - [`http2`]: connections that speak HTTP/2
//! - [`frames`]: the frames of HTTP/2 in one call, to leave out what is data
//! - [`unread`]: sends without user memory
//! - [`datagram`]: look-ups of names over UDP
//! - [`exchange`]: where requests and responses begin, and counting those that lost records
//! - [`emit`]: records into the rings
//! - [`kernel`], [`maps`], [`params`], [`word`]: reading the kernel, the maps, the read-only global,
//!   what the language lacks
#![no_std]
#![no_main]
// Inline assembly for BPF is not stable yet; set-up already lets the stable compiler use `-Z`.
#![feature(asm_experimental_arch)]

mod candidate;
mod classify;
mod connection;
mod datagram;
mod emit;
mod entered;
mod exchange;
mod first;
mod frames;
mod http2;
mod iterator;
mod kernel;
mod maps;
mod params;
mod probes;
mod process;
mod segment;
mod socket;
mod unread;
mod word;
mod work;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that can get here, so this is never reached.
    loop {}
}

/// The helpers that vigie calls are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
