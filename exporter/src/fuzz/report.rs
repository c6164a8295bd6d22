//! What a Prometheus answers to `wattribute report`, and the manifests that `verify` reads.

use std::fs;

use super::{Outcome, Target, said};
use crate::report::{answer, manifest};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "prometheus_query", feed: query, seeds: ANSWERS, rounds: 3000 },
    Target { name: "prometheus_labels", feed: labels, seeds: LABELS, rounds: 3000 },
    Target { name: "manifest", feed: manifest, seeds: &[MANIFEST], rounds: 600 },
];

const ANSWERS: &[&[u8]] = &[
    br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"m","a":"b"},
    "values":[[1700000000,"1"],[1700000030.25,"NaN"],[1700000060.5,"1.5e3"]]}]}}"#,
    br#"{"status":"success","isPartial":false,"warnings":[],"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"+Inf"]}]}}"#,
    br#"{"status":"error","errorType":"bad_data","error":"no"}"#,
];
const LABELS: &[&[u8]] = &[
    br#"{"status":"success","data":["a","b"]}"#,
    br#"{"status":"success","data":[{"__name__":"m","a":"b"}]}"#,
];
const MANIFEST: &[u8] = br#"{"schema":"wattribute-manifest/1","software":"wattribute 0.1.0","written":"2026-11-01T00:00:00Z",
    "period":["2026-10-01T00:00:00Z","2026-11-01T00:00:00Z"],"files":{"report.csv":"00"},"rules":{},"previous":null,"amends":null}"#;

/// Samples rise in time.
fn query(bytes: &[u8]) -> Outcome {
    match answer::query(bytes) {
        Ok(series) if series.iter().any(|one| one.samples.windows(2).any(|pair| pair[0].0 >= pair[1].0)) => {
            Outcome::Broken("samples do not rise in time")
        }
        result => said(result),
    }
}

fn labels(bytes: &[u8]) -> Outcome {
    let sets = answer::label_sets(bytes);
    said(if sets.is_ok() { Ok(()) } else { answer::values(bytes).map(drop) })
}

fn manifest(bytes: &[u8]) -> Outcome {
    let folder = super::files::scratch();
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(manifest::MANIFEST), bytes));
    let read = written.map_err(|error| error.to_string()).and_then(|()| manifest::read(&folder));
    // What is left of it is in the folder for temporary files.
    let _ = fs::remove_dir_all(&folder);
    said(read)
}
