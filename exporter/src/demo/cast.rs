//! Who plays in the demo: two models of GPU, several teams, training, inference, a notebook, and a GPU that idles.

use wattribute::facts::Field;

/// A model of GPU.
#[derive(Debug)]
pub struct Model {
    pub name: &'static str,
    pub idle_watts: f64,
    pub limit_watts: f64,
    pub boost_megahertz: u32,
    pub memory_megahertz: u32,
}

const H100: Model = Model {
    name: "NVIDIA H100 80GB HBM3",
    idle_watts: 72.0,
    limit_watts: 700.0,
    boost_megahertz: 1980,
    memory_megahertz: 2619,
};
const A100: Model = Model {
    name: "NVIDIA A100-SXM4-80GB",
    idle_watts: 54.0,
    limit_watts: 400.0,
    boost_megahertz: 1410,
    memory_megahertz: 1593,
};

/// The GPUs by index; nobody ever uses the last one.
pub const GPUS: &[Model] = &[H100, H100, A100, A100];

/// How a process uses the multiprocessors.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// About so many percent, with a dip every so many seconds: a training loop and its checkpoints.
    Training { percent: f64, checkpoint_seconds: f64 },
    /// Between two percentages, rising and falling over so many seconds: requests.
    Inference { low: f64, high: f64, wave_seconds: f64 },
    /// So many percent for a tenth of each so many seconds, else nothing: a person thinks.
    Notebook { percent: f64, pause_seconds: f64 },
}

/// A program that comes and goes.
#[derive(Debug)]
pub struct Actor {
    pub gpus: &'static [u32],
    pub memory_gib: u64,
    pub cgroup: &'static str,
    /// The pid of the first appearance; each later one has the next.
    first_pid: u32,
    /// When it first comes, how long it stays, and how long it is away, in seconds.
    entrance: (f64, f64, f64),
    does: Use,
    facts: &'static [(Field, &'static str)],
}

/// One time that an actor is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    pub pid: u32,
    /// Seconds since the demo began.
    pub since: f64,
}

impl Actor {
    /// Its appearance at this time, if it is there.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    pub fn appearance(&self, now: f64) -> Option<Appearance> {
        let (first, stays, away) = self.entrance;
        let round = ((now - first) / (stays + away)).floor();
        let since = first + round * (stays + away);
        let here = now >= first && now < since + stays;
        here.then(|| Appearance { pid: self.first_pid + round as u32, since })
    }

    /// How much of the multiprocessors it uses, in percent.
    pub fn percent(&self, now: f64) -> f64 {
        let Some(appearance) = self.appearance(now) else { return 0.0 };
        let age = now - appearance.since;
        match self.does {
            // Loading takes a while.
            _ if age < 3.0 => 0.0,
            Use::Training { percent, checkpoint_seconds } if age % checkpoint_seconds < 2.0 => percent / 8.0,
            Use::Training { percent, .. } => percent,
            Use::Inference { low, high, wave_seconds } => {
                let wave = (age / wave_seconds * std::f64::consts::TAU).sin();
                low + (high - low) * (wave + 1.0) / 2.0
            }
            Use::Notebook { percent, pause_seconds } if age % pause_seconds < pause_seconds / 10.0 => percent,
            Use::Notebook { .. } => 0.0,
        }
    }

    /// What /proc and the schedulers would say of it, beside its control group.
    pub fn facts(&self) -> impl Iterator<Item = (Field, &'static str)> {
        self.facts.iter().map(|(field, value)| (field.clone(), *value))
    }
}

/// Everyone.
pub const CAST: &[Actor] = &[
    Actor {
        gpus: &[0],
        memory_gib: 61,
        cgroup: "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0",
        first_pid: 10_000,
        entrance: (0.0, 600.0, 45.0),
        does: Use::Training { percent: 93.0, checkpoint_seconds: 60.0 },
        facts: &[
            (Field::Uid, "2001"),
            (Field::User, "ada"),
            (Field::Group, "climate"),
            (Field::Comm, "python"),
            (Field::Cmdline, "python train.py --model aurora --bf16"),
            (Field::SlurmAccount, "climate"),
            (Field::SlurmJobName, "aurora-pretrain"),
        ],
    },
    Actor {
        gpus: &[1],
        memory_gib: 38,
        cgroup: "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3cae2e45_052c_4b11_80d3_4d7b2d2d3464.slice/cri-containerd-2b180104511194aab36fd295d3e217439f3ddb5bc88277f37b4952abee85c40e.scope",
        first_pid: 20_000,
        entrance: (0.0, 86_400.0, 5.0),
        does: Use::Inference { low: 8.0, high: 62.0, wave_seconds: 40.0 },
        facts: &[
            (Field::Uid, "1000"),
            (Field::User, "svc-llm"),
            (Field::Comm, "vllm"),
            (Field::Cmdline, "python -m vllm.entrypoints.openai.api_server --model chat-8b"),
            (Field::Namespace, "assistant-prod"),
            (Field::Pod, "chat-8b-7d9f"),
            (Field::Container, "server"),
        ],
    },
    Actor {
        gpus: &[1],
        memory_gib: 22,
        cgroup: "0::/system.slice/slurmstepd.scope/job_4712/step_0/user/task_0",
        first_pid: 30_000,
        entrance: (10.0, 90.0, 60.0),
        does: Use::Training { percent: 34.0, checkpoint_seconds: 30.0 },
        facts: &[
            (Field::Uid, "2002"),
            (Field::User, "grace"),
            (Field::Group, "vision"),
            (Field::Comm, "python"),
            (Field::Cmdline, "python finetune.py --dataset cells"),
            (Field::SlurmAccount, "vision"),
            (Field::SlurmJobName, "cells-finetune"),
        ],
    },
    Actor {
        gpus: &[2],
        memory_gib: 17,
        cgroup: "0::/user.slice/user-2003.slice/session-7.scope",
        first_pid: 40_000,
        entrance: (0.0, 1800.0, 20.0),
        does: Use::Notebook { percent: 71.0, pause_seconds: 50.0 },
        facts: &[
            (Field::Uid, "2003"),
            (Field::User, "emmy"),
            (Field::Group, "teaching"),
            (Field::Comm, "python"),
            (Field::Cmdline, "python -m ipykernel_launcher"),
        ],
    },
    Actor {
        gpus: &[2],
        memory_gib: 4,
        cgroup: "0::/user.slice/user-2099.slice/session-9.scope",
        first_pid: 50_000,
        entrance: (30.0, 40.0, 110.0),
        does: Use::Training { percent: 25.0, checkpoint_seconds: 20.0 },
        facts: &[(Field::Uid, "2099"), (Field::User, "guest"), (Field::Comm, "miner")],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_appearance_is_another_process() {
        let actor = &CAST[2];
        assert_eq!(actor.appearance(9.0), None);
        assert_eq!(actor.appearance(10.0), Some(Appearance { pid: 30_000, since: 10.0 }));
        assert_eq!(actor.appearance(100.0), None);
        assert_eq!(actor.appearance(161.0), Some(Appearance { pid: 30_001, since: 160.0 }));
    }

    #[test]
    fn nobody_asks_for_more_than_a_gpu_has() {
        for second in 0..2000 {
            for gpu in 0..4 {
                let here = CAST.iter().filter(|actor| actor.gpus.contains(&gpu));
                assert!(here.map(|actor| actor.percent(f64::from(second))).sum::<f64>() <= 100.0);
            }
        }
    }

    #[test]
    fn a_gpu_idles() {
        assert!(CAST.iter().all(|actor| !actor.gpus.contains(&3)));
    }
}
