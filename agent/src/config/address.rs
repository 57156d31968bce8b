//! Where vigie listens and where it sends.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::text::text_value;

/// An address to listen at, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nothing listens.
    Off,
    /// This address and port; port 0 lets the kernel choose.
    At(SocketAddr),
}

/// Why an address could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not an IP address with a port.
    #[error(
        "`{0}` is not an address, write ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464, or `off`"
    )]
    Listen(String),
    /// Not `http` or `https`.
    #[error("endpoint `{0}` must begin with `http://` or `https://`")]
    Scheme(String),
    /// No host, or a wrong port, or characters that no URL holds.
    #[error("endpoint `{0}` is not a URL such as http://collector:4317")]
    Endpoint(String),
    /// A password in a URL would end up in logs.
    #[error("the endpoint holds a user name or password, use `headers` instead")]
    UserInfo,
}

text_value!(
    Listen,
    "address",
    "an address such as 127.0.0.1:9464, or off",
    ["127.0.0.1:9464", "off"]
);

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| AddressError::Listen(text.to_owned()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// URL of an OTLP receiver: `http` or `https`, host, and optionally port and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

text_value!(Endpoint, "url", "a URL such as http://collector:4317", ["http://127.0.0.1:4317"]);

impl Endpoint {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Endpoint(text.to_owned());
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let Some(rest) = rest else { return Err(AddressError::Scheme(text.to_owned())) };
        if rest.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#')) {
            return Err(wrong());
        }
        let authority = rest.split('/').next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(AddressError::UserInfo);
        }
        // RFC 3986, section 3.2: an IPv6 address stands in brackets.
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                let port = if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(wrong)?)
                };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen() {
        for good in ["127.0.0.1:9464", "[::1]:9464", "0.0.0.0:0", "off"] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for wrong in ["", "localhost:9464", "9464", ":9464", "127.0.0.1", "127.0.0.1:99999", "on"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints() {
        for good in [
            "http://collector:4317",
            "https://otlp.example",
            "http://[::1]:4318/v1/traces",
            "http://a/b",
        ] {
            assert_eq!(good.parse::<Endpoint>().unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "collector:4317",
            "ftp://x",
            "http://",
            "http://:4317",
            "http://a:b",
            "http://a:0",
            "http://a:70000",
            "http://[::1",
            "http://[x]:1",
            "http://u:p@h",
            "http://a b",
            "http://a?x",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
