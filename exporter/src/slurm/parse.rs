//! What `scontrol show job --details` prints: pure, text in, a job out.
//!
//! Most values are their user's own words, printed without quotes or escapes: a job may be named
//! `x Account=rich QOS=`, with line breaks if it likes. So of the text form only a reply that has one reading is
//! believed. JSON has no such trouble.
//! Callers: `scontrol`, the one that asks.

use serde::Deserialize;

use super::hostlist::expand;

/// What Slurm says of a job. Empty is what it does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Whose job it is.
    pub uid: u32,
    /// The user's name.
    pub user: String,
    /// The group that it runs as; `None` where Slurm does not say.
    pub gid: Option<u32>,
    /// The group's name.
    pub group: String,
    /// The account that it is charged to.
    pub account: String,
    /// Where it runs.
    pub partition: String,
    /// As its user named it.
    pub name: String,
    /// What it has on its nodes; `None` where that cannot be read.
    pub shares: Option<Vec<Share>>,
}

impl Job {
    /// Account, user, partition and name, in the order of the facts that they become.
    pub fn fields(&self) -> [&str; 4] {
        [&self.account, &self.user, &self.partition, &self.name]
    }
}

/// What a job has on some nodes, on each of them the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// A list of nodes, `gpu[01-02]`.
    pub nodes: String,
    /// Its generic resources there, `gpu:a100:2(IDX:0-1)`.
    pub gres: String,
}

/// The jobs on a node and when each began, out of `squeue --format=%A|%S`; `None` where a line cannot be read.
pub fn parse_list(text: &str) -> Option<Vec<(u32, String)>> {
    let job = |line: &str| {
        let (id, since) = line.split_once('|')?;
        Some((id.trim().parse().ok()?, since.trim().to_owned()))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(job).collect()
}

/// The job out of `scontrol show job -o ID`; `None` where the text can be read in more than one way, or in none.
///
/// The id of an array or a heterogeneous job shows all its tasks or components. Because any of these lines may be
/// the invention of a job's name, they must agree in all but the name: the true ones are always among them. Where they do not agree in what the job
/// has on its nodes, as tasks of an array need not, that is not known.
pub fn parse_text(text: &str, id: u32) -> Option<Job> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let records: Vec<(u32, Job)> = lines.map(record).collect::<Option<_>>()?;
    let agree = records.windows(2).all(|pair| is_alike(&pair[0].1, &pair[1].1));
    let same = records.windows(2).all(|pair| pair[0].1.shares == pair[1].1.shares);
    let mut named = records.into_iter().filter(|(number, _)| agree && *number == id);
    let (_, mut job) = named.next()?;
    // Which of several lines says the truth about resources cannot be told.
    job.shares = job.shares.filter(|_| same);
    named.next().is_none().then_some(job)
}

/// The job out of `scontrol show job ID --json`; `None` where it is not in there.
pub fn parse_json(text: &str, id: u32) -> Option<Job> {
    let reply: Reply = serde_json::from_str(text).ok()?;
    let record = reply.jobs.into_iter().find(|record| record.job_id == id)?;
    let shares = shares_of(&record);
    Some(Job {
        shares,
        gid: record.group_id,
        group: record.group_name.unwrap_or_default(),
        uid: record.user_id,
        user: record.user_name.unwrap_or_default(),
        account: record.account.unwrap_or_default(),
        partition: record.partition.unwrap_or_default(),
        name: record.name.unwrap_or_default(),
    })
}

/// One line: the id of a job, and the job.
fn record(line: &str) -> Option<(u32, Job)> {
    let (id, _) = line.strip_prefix("JobId=")?.split_once(' ')?;
    let (user, uid) = between(line, " UserId=", " GroupId=")?.strip_suffix(')')?.rsplit_once('(')?;
    let group =
        line.split_once(" GroupId=").and_then(|(_, rest)| rest.split_once(' ')).map(|(group, _)| group);
    let group = group.and_then(|group| group.strip_suffix(')')?.rsplit_once('('));
    let job = Job {
        uid: uid.parse().ok()?,
        user: user.into(),
        gid: group.and_then(|(_, gid)| gid.parse().ok()),
        group: group.map(|(group, _)| group.into()).unwrap_or_default(),
        account: known(between(line, " Account=", " QOS=")?),
        partition: known(between(line, " Partition=", " AllocNode:Sid=")?),
        name: known(between(line, " JobName=", " UserId=")?),
        shares: between(line, " NtasksPerN:B:S:C=", " MinCPUsNode=").map(shares),
    };
    Some((id.parse().ok()?, job))
}

/// `… Nodes=gpu[01-02] CPU_IDs=0-1 Mem=1 GRES=gpu:2(IDX:0-1) Nodes=gpu03 …`; up to Slurm 19.05 it is `GRES_IDX`.
fn shares(text: &str) -> Vec<Share> {
    let (mut shares, mut nodes) = (Vec::new(), "");
    for word in text.split_ascii_whitespace() {
        if let Some(list) = word.strip_prefix("Nodes=") {
            nodes = list;
        } else if let Some(gres) = word.strip_prefix("GRES=").or_else(|| word.strip_prefix("GRES_IDX=")) {
            shares.push(Share { nodes: nodes.into(), gres: gres.into() });
        }
    }
    shares
}

/// One text for each node, in the order of the nodes; for none where the job has no such resources.
fn shares_of(record: &Record) -> Option<Vec<Share>> {
    let details = record.gres_detail.as_deref().unwrap_or_default();
    if details.is_empty() {
        return Some(Vec::new());
    }
    let nodes = expand(record.nodes.as_deref()?)?;
    let share = |(nodes, gres): (String, &String)| Share { nodes, gres: gres.clone() };
    (nodes.len() == details.len()).then(|| nodes.into_iter().zip(details).map(share).collect())
}

/// What stands between two marks, each of which must stand there exactly once.
fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (head, rest) = line.split_once(before)?;
    let (value, tail) = rest.split_once(after)?;
    let again = head.contains(after) || rest.contains(before) || tail.contains(after);
    (!again).then_some(value)
}

/// Slurm's word for nothing is `(null)`.
fn known(value: &str) -> String {
    if value == "(null)" { String::new() } else { value.into() }
}

fn is_alike(one: &Job, other: &Job) -> bool {
    (one.uid, &one.user, one.gid, &one.group, &one.account, &one.partition)
        == (other.uid, &other.user, other.gid, &other.group, &other.account, &other.partition)
}

#[derive(Deserialize)]
struct Reply {
    jobs: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    job_id: u32,
    user_id: u32,
    user_name: Option<String>,
    account: Option<String>,
    partition: Option<String>,
    name: Option<String>,
    group_id: Option<u32>,
    group_name: Option<String>,
    nodes: Option<String>,
    gres_detail: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // 22.05 as a real one printed it, with other names; the others have the shape of their versions.
    const V20: &str = include_str!("fixtures/20.11.txt");
    const V22: &str = include_str!("fixtures/22.05.txt");
    const V22_ARRAY: &str = include_str!("fixtures/22.05-array.txt");
    const V24: &str = include_str!("fixtures/24.05.txt");
    const V22_HET: &str = include_str!("fixtures/22.05-het.txt");
    const V22_DETAILS: &str = include_str!("fixtures/22.05-details.txt");
    const JSON_24_NODES: &str = include_str!("fixtures/24.05-nodes.json");
    const JSON_23: &str = include_str!("fixtures/23.02.json");
    const JSON_24: &str = include_str!("fixtures/24.05.json");

    /// uid, user, account, partition, name.
    type Want<'a> = Option<(u32, &'a str, &'a str, &'a str, &'a str)>;

    #[track_caller]
    fn check(found: impl Into<Option<Job>>, want: Want<'_>) {
        let found: Option<Job> = found.into();
        let found =
            found.as_ref().map(|job| (job.uid, &*job.user, &*job.account, &*job.partition, &*job.name));
        assert_eq!(found, want);
    }

    #[test]
    fn the_texts_of_all_versions_are_read() {
        check(parse_text(V20, 211), Some((1001, "alice", "astro", "gpu", "train")));
        check(parse_text(V22, 1), Some((0, "root", "astro", "gpu", "train x=1 y")));
        check(parse_text(V24, 901), Some((1001, "alice", "astro", "gpu", "lr=0.1 Seed=5")));
    }

    #[test]
    fn of_arrays_and_heterogeneous_jobs_the_one_of_this_number_counts() {
        check(parse_text(V22_ARRAY, 3), Some((1001, "alice", "astro", "gpu", "arr")));
        check(parse_text(V22_ARRAY, 4), Some((1001, "alice", "astro", "gpu", "arr")));
        check(parse_text(V22_ARRAY, 5), None);
        check(parse_text(V22_HET, 501), Some((1001, "alice", "astro", "gpu", "solver")));
    }

    #[track_caller]
    fn check_shares(found: Option<Job>, want: Option<&[(&str, &str)]>) {
        let found = found.expect("a job");
        assert_eq!((found.gid, &*found.group), (Some(50), "staff"));
        let shares = found.shares.as_ref();
        let shares = shares.map(|all| all.iter().map(|one| (&*one.nodes, &*one.gres)).collect::<Vec<_>>());
        assert_eq!(shares.as_deref(), want);
    }

    #[test]
    fn what_a_job_has_on_its_nodes_is_read_of_all_versions() {
        let whole = [("gpu01", "gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:3)")];
        check_shares(parse_text(V22_DETAILS, 1), Some(&whole));
        check_shares(parse_text(V24, 901), Some(&[]));
        let older = V22_DETAILS.replace(" GRES=", " GRES_IDX=").replace("CoreSpec=*", "ThreadSpec=1");
        check_shares(parse_text(&older, 1), Some(&whole));
        let several =
            V22_DETAILS.replace("Nodes=gpu01 ", "Nodes=gpu[02-03] CPU_IDs=0 Mem=1 GRES= Nodes=gpu01 ");
        check_shares(parse_text(&several, 1), Some(&[("gpu[02-03]", ""), whole[0]]));
        let four = "gpu:l40s:4(IDX:0-3)";
        let nodes = [("gpu13", four), ("gpu14", four), ("gpu20", "gpu:l40s:1(IDX:2)")];
        check_shares(parse_json(JSON_24_NODES, 290_094), Some(&nodes));
        check_shares(parse_json(&JSON_24_NODES.replace("[13-14]", "13"), 290_094), None);
    }

    #[test]
    fn a_job_cannot_name_itself_other_gpus() {
        for name in ["x NtasksPerN:B:S:C=0 Nodes=gpu01 GRES=gpu:1(IDX:7)", "x MinCPUsNode=1"] {
            check_shares(
                parse_text(&V22_DETAILS.replace("JobName=wrap", &format!("JobName={name}")), 1),
                None,
            );
        }
        let own = V22_DETAILS.replace("JobName=wrap", "JobName=x Nodes=gpu01 CPU_IDs=0 GRES=gpu:1(IDX:7)");
        check_shares(parse_text(&own, 1), Some(&[("gpu01", "gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:3)")]));
    }

    #[test]
    fn of_several_records_neither_group_nor_gpus_are_chosen() {
        let whole = V22_DETAILS.trim_end();
        let other = whole.replacen("JobId=1 ", "JobId=2 ", 1);
        let two = |other: &str| parse_text(&format!("{whole}\n{other}\n"), 1);
        check_shares(two(&other), Some(&[("gpu01", "gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:3)")]));
        check_shares(two(&other.replace("IDX:3", "IDX:2")), None);
        check(two(&other.replace("staff(50)", "wheel(50)")), None);
        check(two(&other.replace("staff(50)", "staff(51)")), None);
    }

    #[test]
    fn lists_of_jobs_are_read() {
        let list = parse_list("7|2026-11-21T13:44:42\n 8|N/A \n\n");
        assert_eq!(list, Some(vec![(7, "2026-11-21T13:44:42".into()), (8, "N/A".into())]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!(parse_list("slurm_load_jobs error: Unable to contact slurm controller"), None);
    }

    #[test]
    fn nothing_is_no_value() {
        check(parse_text(&line("x", "(null)"), 7), Some((1001, "alice", "", "gpu", "x")));
    }

    /// A job 7 of alice with this name and account.
    fn line(name: &str, account: &str) -> String {
        format!(
            "JobId=7 JobName={name} UserId=alice(1001) GroupId=staff(50) MCS_label=N/A Account={account} \
             QOS=normal JobState=RUNNING Partition=gpu AllocNode:Sid=login:77 WorkDir=/home/alice\n"
        )
    }

    #[test]
    fn a_name_with_anything_in_it_is_a_name() {
        for name in ["a b", "a=b", "JobId=8", "Account=rich", "x Priority=1 Nice=0", "(7)", "ü"] {
            check(parse_text(&line(name, "poor"), 7), Some((1001, "alice", "poor", "gpu", name)));
        }
    }

    #[test]
    fn a_job_cannot_name_itself_into_an_account() {
        let forged = "x UserId=alice(1001) GroupId=g Account=rich QOS=q Partition=gpu AllocNode:Sid=l:1";
        for name in [
            "x Account=rich QOS=normal",
            " Account=rich QOS=",
            "x\nJobId=7 JobName=y",
            "x\n",
            "x UserId=bob(1002)",
            "x Account=rich",
            "x Partition=big",
            forged,
            &format!("{forged}\nJobId=8 JobName=y"),
            &format!("{forged}\nJobId=8 ArrayJobId=7 ArrayTaskId=1 JobName=y"),
            &format!("y\nJobId=7 JobName={forged}"),
        ] {
            check(parse_text(&line(name, "poor"), 7), None);
        }
        let comment = line("x", "poor").replace("WorkDir=", "Comment=a Account=rich QOS=b WorkDir=");
        check(parse_text(&comment, 7), None);
    }

    #[test]
    fn json_is_read() {
        check(parse_json(JSON_23, 211), Some((1001, "alice", "astro", "gpu", "train x Account=rich QOS=")));
        check(parse_json(JSON_24, 4), Some((1001, "alice", "astro", "gpu", "arr")));
        check(parse_json(JSON_24, 5), None);
    }

    #[test]
    fn what_is_no_reply_is_no_job() {
        for text in [
            "",
            "{}",
            "[]",
            "{\"jobs\": []}",
            "{\"jobs\": [{}]}",
            "JobId=7",
            "JobId=7 ",
            "No jobs in the system",
        ] {
            check(parse_text(text, 7), None);
            check(parse_json(text, 7), None);
        }
        let whole = line("x", "poor");
        let end = whole.find(" AllocNode").expect("a mark");
        for cut in 0..end {
            check(parse_text(&whole[..cut], 7), None);
        }
    }
}
