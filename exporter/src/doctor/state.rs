//! The state directory: whether it can be written, lasts, has room, and is nobody else's.

use std::path::Path;

use rustix::fs::{statfs, statvfs};

use super::finding::Finding;
use super::web;
use crate::settings::{Serve, Source};
use crate::state::{self, Standing, format};

const CHECK: &str = "state";
/// File systems that a restart of the machine or of the container empties: their numbers in the kernel's magic.h.
const PASSING: [(i64, &str); 3] =
    [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x794c_7630, "overlayfs")];
/// What many states fit in, in bytes.
const ROOM: u64 = 64 << 20;

pub fn examine(settings: &Serve) -> Vec<Finding> {
    let Some(folder) = &settings.state_dir else {
        return match settings.source {
            Source::Nvml { .. } => vec![Finding::warning(
                CHECK,
                "none: the accounts begin at zero with every start",
                "give a folder that lasts by --state.dir, such as /var/lib/wattribute",
            )],
            _ => Vec::new(),
        };
    };
    let place = folder.display();
    let standing = match state::look(folder) {
        Ok(standing) => standing,
        Err(error) => {
            let advice =
                "let the user that the exporter runs as write there (systemd: StateDirectory=wattribute)";
            return vec![Finding::failure(CHECK, format!("{place}: {error}"), advice)];
        }
    };
    let mut findings = vec![match standing {
        Standing::Missing => Finding::ok(CHECK, format!("{place}: it will be made")),
        Standing::Free => kept(folder),
        Standing::Taken if settings.web.listen.addresses().iter().any(|address| web::is_served(address)) => {
            Finding::ok(CHECK, format!("{place}: the exporter that runs here has it"))
        }
        Standing::Taken => Finding::failure(
            CHECK,
            format!("{place}: another wattribute has it, and none answers on --web.listen-address"),
            "stop the other, or give each its own: fuser -v that folder's lock names it",
        ),
    }];
    findings.extend(disk(folder));
    findings
}

/// What an earlier run left.
fn kept(folder: &Path) -> Finding {
    let place = folder.display();
    match state::read(folder).map(|text| text.as_deref().map(format::read)) {
        Ok(None) => Finding::ok(CHECK, format!("{place}: empty")),
        Ok(Some(Ok(_))) => Finding::ok(CHECK, format!("{place}: has the accounts of an earlier run")),
        Ok(Some(Err(what))) => Finding::warning(
            CHECK,
            format!("{place}: what is in it cannot be used: {what}"),
            "the next start sets it aside and begins at zero; restore state.json from a backup first, if there is one",
        ),
        Err(error) => {
            Finding::failure(CHECK, format!("{place}: {error}"), "let this user read it, or remove it")
        }
    }
}

/// Whether the disk lasts and has room.
fn disk(folder: &Path) -> Vec<Finding> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    let kind = statfs(existing).ok().and_then(|disk| PASSING.iter().find(|(magic, _)| disk.f_type == *magic));
    if let Some((_, name)) = kind {
        let found = format!("{} is on {name}: it may not last", existing.display());
        findings.push(Finding::warning(
            "disk",
            found,
            "choose a folder on a disk, or in a container a volume",
        ));
    }
    let free = statvfs(existing).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if let Ok(free) = free
        && free < ROOM
    {
        let found = format!("{} has {} MiB left", existing.display(), free >> 20);
        findings.push(Finding::warning(
            "disk",
            found,
            "make room: a state that cannot be written is given up",
        ));
    }
    findings
}
