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
