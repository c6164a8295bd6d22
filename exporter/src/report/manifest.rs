//! What stands beside a report: hashes of everything in its folder and of what was in force, and of the manifest before.
//! A folder is written whole or not at all, and never again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const SCHEMA: &str = "wattribute-manifest/1";
/// The manifest.
pub const MANIFEST: &str = "manifest.json";
/// Its hash, as `sha256sum` writes it.
pub const CHECKSUM: &str = "manifest.json.sha256";
/// Its signature, where there is one.
pub const SIGNATURE: &str = "manifest.json.sig";

/// A manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format.
    pub schema: String,
    /// What wrote it.
    pub software: String,
    /// When, by the clock of the machine.
    pub written: String,
    /// The first second of the period, and the first that no longer belongs to it, in UTC.
    pub period: [String; 2],
    /// The files of the folder, with their SHA-256.
    pub files: BTreeMap<String, String>,
    /// The rules files that were in force, with their SHA-256.
    pub rules: BTreeMap<String, String>,
    /// The SHA-256 of the manifest of the report before; `None` for the first.
    pub previous: Option<String>,
    /// The SHA-256 of the manifest of the report that this one corrects.
    pub amends: Option<String>,
}

/// A signature of a manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `ed25519`.
    pub algorithm: String,
    /// In hex.
    pub public_key: String,
    /// Of the manifest's bytes, in hex.
    pub signature: String,
}

/// A folder that is being written, under another name.
pub struct Folder {
    target: PathBuf,
    partial: PathBuf,
}

impl Folder {
    /// Begins a folder that must not be there yet.
    ///
    /// # Errors
    /// Where it is, or cannot be written.
    pub fn begin(target: &Path) -> Result<Self, String> {
        if target.exists() {
            return Err(format!(
                "{}: it is there, and a report is never rewritten: a correction goes to another folder, with --amends",
                target.display()
            ));
        }
        let mut partial = target.as_os_str().to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        fs::create_dir_all(&partial).map_err(|error| format!("{}: {error}: see --out", partial.display()))?;
        Ok(Self { target: target.to_owned(), partial })
    }

    /// Where a file of it is while it is being written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    /// Writes a file of it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<(), String> {
        let path = self.path(name);
        let written = File::create_new(&path).and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        });
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The SHA-256 of its files.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn hashes(&self) -> Result<BTreeMap<String, String>, String> {
        hashes(&self.partial)
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Where another has it by now.
    pub fn finish(self) -> Result<(), String> {
        let say = |error: io::Error| format!("{}: {error}", self.target.display());
        fs::rename(&self.partial, &self.target).map_err(say)?;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(say)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Of a report that failed nothing is kept; of one that is done nothing is left here.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// The SHA-256 of the files in a folder, by name; those about the manifest itself are not among them.
///
/// # Errors
/// Where one cannot be read.
pub fn hashes(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let say = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| say(folder, &error))? {
        let path = entry.map_err(|error| say(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ![MANIFEST, CHECKSUM, SIGNATURE].contains(&&*name) {
            found.insert(name, sha256_of(&path)?);
        }
    }
    Ok(found)
}

/// The SHA-256 of a file.
///
/// # Errors
/// Where it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(sha256(&bytes))
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the manifest, its checksum, and its signature where there is a key.
///
/// # Errors
/// Where one cannot be written, or the key is none.
pub fn write(folder: &Folder, manifest: &Manifest, key: Option<&Path>) -> Result<(), String> {
    let json = serde_json::to_string_pretty(manifest).map_err(|error| error.to_string())? + "\n";
    folder.write(MANIFEST, json.as_bytes())?;
    folder.write(CHECKSUM, format!("{}  {MANIFEST}\n", sha256(json.as_bytes())).as_bytes())?;
    let Some(path) = key else { return Ok(()) };
    let key = read_key(path)?;
    let signature = Signature {
        algorithm: "ed25519".into(),
        public_key: hex(key.public_key().as_ref()),
        signature: hex(key.sign(json.as_bytes()).as_ref()),
    };
    let text = serde_json::to_string_pretty(&signature).map_err(|error| error.to_string())? + "\n";
    folder.write(SIGNATURE, text.as_bytes())
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair, String> {
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    let say = |what: &str| {
        format!("{}: {what}: make one by openssl genpkey -algorithm ed25519 -out FILE", path.display())
    };
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}: see --sign-key", path.display()))?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| say("no key in PKCS #8"))?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| say("no ed25519 key"))
}

/// Reads the manifest of a folder, and its hash.
///
/// # Errors
/// Where there is none, or it makes no sense.
pub fn read(folder: &Path) -> Result<(Manifest, String), String> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{}: no manifest ({error})", path.display()))?;
    if manifest.schema != SCHEMA {
        return Err(format!("{}: its format is {:?}, not {SCHEMA}", path.display(), manifest.schema));
    }
    Ok((manifest, sha256(&bytes)))
}
