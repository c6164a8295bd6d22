//! Certificates for a test, by openssl: an authority, a server's certificate for 127.0.0.1, a client's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wattribute_e2e::{Scratch, require};

/// An authority, whose files begin with its name.
pub struct Authority<'s> {
    scratch: &'s Scratch,
    name: &'s str,
}

impl<'s> Authority<'s> {
    /// Makes `NAME.crt` and `NAME.key`.
    pub fn new(scratch: &'s Scratch, name: &'s str) -> Self {
        let this = Self { scratch, name };
        let subject = format!("/CN=the authority {name}");
        let (key, certificate) = (this.key(name), this.certificate(name));
        let mut args =
            vec!["req", "-x509", "-days", "2", "-subj", &subject, "-addext", "keyUsage=critical,keyCertSign"];
        args.extend(["-keyout", &key, "-out", &certificate]);
        openssl(&[&args[..], NEW_KEY].concat());
        this
    }

    /// Makes `NAME.crt` and `NAME.key` of a server on 127.0.0.1.
    pub fn server(&self, name: &str) {
        self.issue(name, "subjectAltName=IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n");
    }

    /// Makes `NAME.crt` and `NAME.key` of a client whose certificate has these names.
    pub fn client(&self, name: &str, names: &str) {
        self.issue(name, &format!("subjectAltName={names}\nextendedKeyUsage=clientAuth\n"));
    }

    fn issue(&self, name: &str, extensions: &str) {
        let request = self.path(&format!("{name}.csr"));
        let extensions = self.scratch.write(&format!("{name}.ext"), extensions).display().to_string();
        let subject = format!("/CN={name}");
        let key = self.key(name);
        openssl(&[&["req", "-new", "-subj", &subject, "-keyout", &key, "-out", &request], NEW_KEY].concat());
        let (certificate, ca, ca_key) =
            (self.certificate(name), self.certificate(self.name), self.key(self.name));
        let signed = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key];
        openssl(&[&signed[..], &["-CAcreateserial", "-extfile", &extensions, "-out", &certificate]].concat());
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path(name).display().to_string()
    }

    fn key(&self, name: &str) -> String {
        self.path(&format!("{name}.key"))
    }

    fn certificate(&self, name: &str) -> String {
        self.path(&format!("{name}.crt"))
    }
}

/// Replaces a certificate and its key by others, each at once, as cert-manager and certbot do.
pub fn replace(scratch: &Scratch, old: &str, new: &str) {
    for kind in ["key", "crt"] {
        let path = |name: &str| -> PathBuf { scratch.path(&format!("{name}.{kind}")) };
        fs::rename(path(new), path(old)).expect("both are there");
    }
}

/// Elliptic, since that is quick to make.
const NEW_KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(args: &[&str]) {
    let output = Command::new(require("openssl")).args(args).output().expect("it runs");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
