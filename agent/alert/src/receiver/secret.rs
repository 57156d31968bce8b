//! Where a secret is, never what it is: it is read anew for each try, so that one that was replaced is
//! taken up, and nothing keeps it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Bytes of a secret that are read.
pub(super) const MAX_SECRET: u64 = 16 << 10;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file, without the white space around it.
    File(PathBuf),
    /// In an environment variable of the agent.
    Env(String),
}

/// A secret that cannot be had. The text says where it should be, and not what was there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file.
    #[error("{}: {error}; name a file that vigie may read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What reading it came to.
        error: io::Error,
    },
    /// The variable.
    #[error("the environment variable {0} is not set; set it for the agent")]
    NotSet(String),
    /// Nothing in it, too much, or no text.
    #[error("{0} has no text of 1 to {MAX_SECRET} bytes; write the secret there")]
    Unusable(String),
}

impl Secret {
    /// The secret itself.
    pub fn read(&self) -> Result<Plain, SecretError> {
        let text = match self {
            Self::File(path) => {
                let mut bytes = Vec::new();
                let file = File::open(path);
                let read = file.and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut bytes));
                read.map_err(|error| SecretError::File { path: path.clone(), error })?;
                String::from_utf8(bytes).map_err(|_| SecretError::Unusable(self.to_string()))?
            }
            Self::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::NotSet(name.clone()))?
            }
        };
        let text = text.trim();
        if text.is_empty() || text.len() as u64 > MAX_SECRET {
            return Err(SecretError::Unusable(self.to_string()));
        }
        Ok(Plain(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// A secret as it is. Its Debug does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(String);

impl Plain {
    /// What was kept back.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_trimmed_and_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "  s3cret\n").unwrap();
        let secret = Secret::File(path.clone());
        let plain = secret.read().unwrap();
        assert_eq!(plain.expose(), "s3cret");
        assert!(!format!("{plain:?} {secret:?}").contains("s3cret"));
        std::fs::write(&path, " \n").unwrap();
        assert!(secret.read().unwrap_err().to_string().contains("write the secret there"));
        std::fs::remove_file(&path).unwrap();
        assert!(secret.read().is_err());
        assert!(Secret::Env("VIGIE_NOT_SET".to_owned()).read().is_err());
    }
}
