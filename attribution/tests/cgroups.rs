//! The recorded control-group paths and the facts a correct reader derives from them.

use serde_yaml::Value;
use wattribute::cgroup;
use wattribute::facts::{Facts, Field};

#[test]
fn every_recorded_path_gives_its_facts() {
    let file: Value = serde_yaml::from_str(include_str!("fixtures/cgroups.yaml")).expect("valid YAML");
    let cases = file["tests"].as_sequence().expect("a list");
    assert_eq!(cases.len(), 32);
    for case in cases {
        let mut facts = Facts::default();
        cgroup::derive(case["process"]["cgroup"].as_str().expect("a path"), &mut facts);
        for (name, want) in case["facts"].as_mapping().expect("facts") {
            let field = name.as_str().and_then(Field::parse).expect("a field");
            assert_eq!(
                Some(facts.text(&field)),
                want.as_str(),
                "{}: {field}",
                case["name"].as_str().unwrap_or("?")
            );
        }
        assert_eq!(Some(facts.text(&Field::Cgroup)), case["process"]["cgroup"].as_str());
    }
}

/// Names that make a reader look back and forth: none may cost more than its length.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test of time reads a clock")]
fn a_text_of_any_length_is_read_in_time() {
    use std::time::{Duration, Instant};
    let pieces = [
        "a.slice/",
        "../",
        "docker/",
        "kubepods-pod-",
        r"machine-qemu\x2d1\x2d",
        "libpod-",
        "x:y:",
        "job_1/step_0/",
        "\n0::/a.slice/",
    ];
    for piece in pieces {
        for start in
            ["0::/", "0::/user.slice/user-1.slice/user@1.service/", "0::/system.slice/slurmstepd.scope/"]
        {
            let text = format!("{start}{}", piece.repeat((1 << 20) / piece.len()));
            let started = Instant::now();
            cgroup::derive(&text, &mut Facts::default());
            // Time that grows with the square would take minutes.
            assert!(started.elapsed() < Duration::from_secs(30), "{start}{piece}…: {:?}", started.elapsed());
        }
    }
}
