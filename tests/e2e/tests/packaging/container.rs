//! The image, as far as that is possible without a container runtime: the binary with the libraries that it asks for in an
//! otherwise empty file system, which is read-only, as the image's user, with the image's command. The base image itself
//! (distroless/cc: glibc and libgcc) and NVIDIA's runtime are not there.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, get, require, wattribute};

use crate::{read, said};

/// The parts of glibc and gcc that distroless/cc has; the binary may ask for no others.
const LIBRARIES: &[&str] =
    &["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"];

/// What the last line of the container file with this instruction says.
#[track_caller]
fn instruction(name: &str) -> String {
    let text = read("container/Containerfile");
    let found = text.lines().filter_map(|line| line.strip_prefix(name)).next_back();
    found.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
}

/// The libraries that the loader finds for the binary, with itself.
fn libraries(binary: &Path) -> Vec<String> {
    let (is_dynamic, list) = said(Command::new(require("ldd")).arg(binary));
    assert!(is_dynamic, "{list}");
    let paths = list.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(str::to_owned).collect()
}

/// The image's files in a folder.
fn unpack(image: &Path) {
    let binary = wattribute();
    for library in libraries(&binary) {
        let name = library.rsplit('/').next().expect("a name");
        assert!(LIBRARIES.contains(&name) || name.starts_with("ld-linux"), "the image has no {name}");
        let copy = image.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        fs::copy(&library, copy).expect("a copy");
    }
    for folder in ["usr/bin", "proc", "etc"] {
        fs::create_dir_all(image.join(folder)).expect("a folder");
    }
    let copy = image.join("usr/bin/wattribute");
    fs::copy(binary, &copy).expect("a copy");
    fs::set_permissions(copy, PermissionsExt::from_mode(0o755)).expect("our file");
}

/// A container; it ends with this value.
struct Container(Child);

impl Drop for Container {
    fn drop(&mut self) {
        // Either fails only if it has ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs the image's command with more flags.
fn start(image: &Path, address: SocketAddr, log: File) -> Container {
    let words = |text: String| serde_json::from_str::<Vec<String>>(&text).expect("the exec form");
    let mut command = [words(instruction("ENTRYPOINT")), words(instruction("CMD"))].concat();
    for word in &mut command {
        if word.starts_with("--web.listen-address=") {
            *word = format!("--web.listen-address={address}");
        }
    }
    command.push("--source=demo".into());
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && mount -t proc proc \"$1/proc\" && \
        root=$1 user=$2 && shift 2 && exec chroot --groups= --userspec=\"$user\" \"$root\" \"$@\"";
    let mut unshare = Command::new(require("unshare"));
    unshare.args(["--mount", "--kill-child", "--pid", "--fork", "sh", "-c", script, "sh"]).arg(image);
    unshare.arg(instruction("USER")).args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Container(unshare.spawn().expect("unshare"))
}

#[test]
fn the_files_of_the_image_suffice_read_only_for_its_user() {
    let scratch = Scratch::new("image");
    let (image, log) = (scratch.path("root"), scratch.path("log"));
    unpack(&image);
    let address = free_address();
    let mut container = start(&image, address, File::create(&log).expect("a file"));
    let scrape = eventually(PATIENCE, "the image answers", || {
        let ended = container.0.try_wait().expect("a child");
        assert!(ended.is_none(), "it ended: {}", fs::read_to_string(&log).unwrap_or_default());
        get(address, "/metrics", &[]).ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
    });
    assert!(scrape.contains("wattribute_source_info{source=\"demo\"} 1"), "{scrape}");
    let page = get(address, "/", &[]).expect("a page");
    assert_eq!(page.status, 200);
}
