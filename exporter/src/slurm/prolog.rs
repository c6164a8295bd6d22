//! The files that a site's prolog writes: a folder with a file for each GPU, job ids as lines, as for dcgm-exporter's
//! job mapping. A file is named by the GPU's index (`0`), by index and MIG instance (`0.7`), or by a UUID.
//!
//! The folder is an administrator's; what is odd in it is left out and logged once. Called by a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::allocation::Device;

/// How much of a file is read, in bytes: thousands of jobs.
const MAX_FILE: u64 = 64 * 1024;
/// How many files are read.
const MOST: usize = 4096;

/// How many jobs are known at most, of all files.
const MOST_JOBS: usize = 4096;

/// What each job has, as the prolog says.
pub type Mapping = BTreeMap<u32, Vec<Device>>;

/// The folder, and what is odd in it.
#[derive(Debug)]
pub struct Prolog {
    folder: PathBuf,
    odd: BTreeSet<String>,
}

impl Prolog {
    /// Of this folder; it need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), odd: BTreeSet::new() }
    }

    /// What the files say now. A folder that is not there says nothing; one that cannot be read is `None`.
    pub fn read(&mut self) -> Option<Mapping> {
        let mut mapping = Mapping::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.say(".", &error.to_string());
                return (error.kind() == io::ErrorKind::NotFound).then_some(mapping);
            }
        };
        for entry in entries.flatten().take(MOST) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(device) = device(&name) else { continue };
            match text(&entry.path()) {
                Ok(text) => {
                    for job in self.jobs(&name, &text) {
                        if mapping.len() < MOST_JOBS || mapping.contains_key(&job) {
                            mapping.entry(job).or_default().push(device.clone());
                        } else {
                            self.say(".", "the files name more than 4096 jobs: the others are left out");
                        }
                    }
                }
                // Its job has ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.say(&name, &error.to_string()),
            }
        }
        Some(mapping)
    }

    /// The jobs in the text of a file.
    fn jobs(&mut self, name: &str, text: &str) -> BTreeSet<u32> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (jobs, odd): (Vec<_>, Vec<_>) = lines.map(str::parse::<u32>).partition(Result::is_ok);
        if !odd.is_empty() {
            self.say(name, "a line is no job id");
        }
        jobs.into_iter().flatten().collect()
    }

    fn say(&mut self, file: &str, what: &str) {
        if self.odd.len() < MOST && self.odd.insert(format!("{file}: {what}")) {
            let folder = self.folder.display().to_string();
            tracing::warn!(folder, file, what, "a job-mapping file is left out, or a part of it");
        }
    }
}

/// The GPU that a file is named by; other files are none of ours. Of an instance by number, the GPU.
fn device(name: &str) -> Option<Device> {
    if name.starts_with("GPU-") || name.starts_with("MIG-") {
        return Some(Device::Uuid(name.into()));
    }
    let (gpu, instance) = name.split_once('.').unwrap_or((name, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(gpu) && is_number(instance) { gpu.parse().ok().map(Device::Index) } else { None }
}

/// The text of a plain file; a link or a pipe is not followed nor waited for.
fn text(path: &Path) -> io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file: File = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    let mut bytes = Vec::new();
    if file.take(MAX_FILE + 1).read_to_end(&mut bytes)? as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("wattribute-prolog-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder");
            Self(folder)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).expect("a file");
        }

        #[track_caller]
        fn check(&self, want: &[(u32, &[Device])]) {
            let want: Mapping = want.iter().map(|(job, devices)| (*job, devices.to_vec())).collect();
            assert_eq!(Prolog::new(&self.0).read(), Some(want));
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_named_by_index_instance_or_uuid() {
        let folder = Folder::new("names");
        for (name, text) in [("0", "211\n212\n"), ("1.7", "213\n"), ("GPU-a", "211\r\n"), ("MIG-b", " 214 ")]
        {
            folder.write(name, text);
        }
        let uuid = |name: &str| Device::Uuid(name.into());
        let of_211 =
            Prolog::new(&folder.0).read().expect("a folder")[&211].iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(of_211, [Device::Index(0), uuid("GPU-a")].into());
        fs::remove_file(folder.0.join("GPU-a")).expect("a file");
        let zero = [Device::Index(0)];
        folder.check(&[(211, &zero), (212, &zero), (213, &[Device::Index(1)]), (214, &[uuid("MIG-b")])]);
    }

    #[test]
    fn what_is_odd_is_left_out() {
        let folder = Folder::new("odd");
        folder.write("0", "");
        folder.write("1", "abc\n-1\n99999999999\n7 8\n\n211\n");
        folder.write("2", &"1\n".repeat(100_000));
        folder.write("3x", "5");
        folder.write("4.x", "5");
        folder.write("-5", "5");
        folder.write("job.txt", "5");
        symlink(folder.0.join("1"), folder.0.join("6")).expect("a link");
        fs::create_dir(folder.0.join("7")).expect("a folder");
        let pipe = std::process::Command::new("mkfifo").arg(folder.0.join("8")).status();
        assert!(pipe.is_ok_and(|status| status.success()));
        folder.check(&[(211, &[Device::Index(1)])]);
    }

    #[test]
    fn there_are_no_more_than_4096_jobs() {
        let folder = Folder::new("many");
        for file in 0..2 {
            let jobs: Vec<String> = (0..4000).map(|job| (file * 4000 + job).to_string()).collect();
            folder.write(&file.to_string(), &jobs.join("\n"));
        }
        let mut prolog = Prolog::new(&folder.0);
        for _ in 0..2 {
            assert_eq!(prolog.read().expect("a folder").len(), MOST_JOBS);
            assert_eq!(prolog.odd.len(), 1, "it is said once");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_says_nothing() {
        assert_eq!(Prolog::new("/nowhere/at/all").read(), Some(Mapping::new()));
        assert_eq!(Prolog::new("/proc/version").read(), None);
    }
}
