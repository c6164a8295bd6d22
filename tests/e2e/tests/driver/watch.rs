//! An exporter on the fake driver, and what the tests ask of it again and again.

use std::path::Path;
use std::time::Duration;

use fake_nvml::{Entry, Journal, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, Scrape, Scratch, device_mj, eventually, readings};

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Watch {
    pub scenario: Scenario,
    pub exporter: Exporter,
    auditor: Auditor,
    scratch: Scratch,
}

impl Watch {
    #[track_caller]
    pub fn start(name: &str, scenario: Scenario) -> Self {
        let scratch = Scratch::new(name);
        let flags =
            Flags { exposition_delay: Some(Duration::from_secs(2)), ..Flags::with_fake(&scratch, &scenario) };
        let exporter = Exporter::start(&scratch, flags).expect("it starts");
        Self { scenario, exporter, auditor: Auditor::default(), scratch }
    }

    /// Changes what is to come.
    #[track_caller]
    pub fn edit(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.scenario.save(&self.scratch.path("scenario.yaml")).expect("an edit of the future");
    }

    /// Scrapes, with an eye on the laws of the accounting, until `probe` has what it wants.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut probe: impl FnMut(&Scrape) -> Option<T>) -> T {
        eventually(PATIENCE, what, || probe(&self.auditor.scrape(&self.exporter)))
    }

    #[track_caller]
    pub fn until_up(&mut self, gpu: usize, up: &str) -> Scrape {
        let uuid = self.scenario.gpus[gpu].uuid.clone();
        self.until(&format!("gpu {gpu} is up {up}"), |scrape| {
            let is = scrape.value("wattribute_gpu_up", &[("uuid", &uuid)]) == Some(up);
            is.then(|| scrape.clone())
        })
    }

    #[track_caller]
    pub fn until_logged(&mut self, text: &str, times: usize) {
        eventually(PATIENCE, text, || (self.exporter.stderr().matches(text).count() >= times).then_some(()));
    }

    /// What the GPU is shown to have is what its counter had gained at one of the readings, and that reading comes to
    /// be one of those that are yet to be made.
    #[track_caller]
    pub fn check_energy(&mut self, gpu: usize) {
        let (journal, uuid) = (self.scratch.path("journal.jsonl"), self.scenario.gpus[gpu].uuid.clone());
        let before = gains(&journal, gpu).len();
        self.until(&format!("gpu {gpu} has all its energy"), |scrape| {
            let (shown, gains) = (device_mj(scrape, &uuid), gains(&journal, gpu));
            let at = gains.iter().rposition(|gain| *gain == shown);
            let at = at.unwrap_or_else(|| panic!("gpu {gpu}: {shown} mJ is not among {gains:?}"));
            (at > before).then_some(())
        });
    }

    /// How often a call was answered without error.
    pub fn calls(&self, name: &str) -> usize {
        let entries = Journal::read(&self.scratch.path("journal.jsonl")).expect("a journal");
        entries.iter().filter(|Entry { call, code, .. }| call == name && *code == 0).count()
    }

    /// Whether the library is mapped into the exporter.
    pub fn is_loaded(&self) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.exporter.pid()));
        maps.expect("it runs").contains("libfake_nvml.so")
    }
}

/// What the counter had gained with each reading; after a fall it counts from zero.
fn gains(journal: &Path, gpu: usize) -> Vec<u64> {
    let all = readings(journal, gpu);
    let mut sum = 0;
    let gain = |pair: &[wattribute_e2e::Reading]| pair[1].mj.checked_sub(pair[0].mj).unwrap_or(pair[1].mj);
    let later = all.windows(2).map(|pair| {
        sum += gain(pair);
        sum
    });
    std::iter::once(0).chain(later.collect::<Vec<_>>()).collect()
}
