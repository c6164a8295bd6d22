//! The container file. That its files suffice is tested where a root can be changed: `tests/e2e/tests/packaging`.

use crate::{check_serves, read, root};

/// The instructions of the last stage, which is the image.
fn image() -> Vec<(String, String)> {
    let text = read("container/Containerfile");
    let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = plain.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.split_once(' '));
    let all: Vec<_> = lines.map(|(word, rest)| (word.to_owned(), rest.trim().to_owned())).collect();
    let last = all.iter().rposition(|(word, _)| word == "FROM").expect("a stage");
    all[last..].to_vec()
}

/// What the image says of one thing.
fn the(instruction: &str) -> String {
    let found: Vec<String> =
        image().into_iter().filter(|(word, _)| word == instruction).map(|(_, rest)| rest).collect();
    assert_eq!(found.len(), 1, "{instruction}: {found:?}");
    found[0].clone()
}

#[test]
fn the_image_runs_nothing_while_it_is_built_and_has_no_shell() {
    assert!(image().iter().all(|(word, _)| word != "RUN" && word != "ADD" && word != "HEALTHCHECK"));
    assert!(the("FROM").contains("distroless/cc"));
    let (user, group) = the("USER").split_once(':').map(|(u, g)| (u.to_owned(), g.to_owned())).expect("both");
    assert!([user, group].iter().all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)));
}

#[test]
fn the_command_of_the_image_is_understood() {
    let words = |text: &str| serde_json::from_str::<Vec<String>>(text).expect("the exec form");
    assert_eq!(words(&the("ENTRYPOINT")), ["/usr/bin/wattribute"]);
    check_serves(&words(&the("CMD")), &root().join("packaging/debian/teams.yaml"));
}

#[test]
fn the_driver_is_asked_for_and_no_more_of_it_than_reads() {
    let env = the("ENV");
    for variable in ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility", "MALLOC_ARENA_MAX=1"]
    {
        assert!(env.split_whitespace().any(|word| word == variable), "{variable}: {env}");
    }
}

#[test]
fn what_is_built_and_copied_is_there_and_not_ignored() {
    let kept = read("container/Containerfile.dockerignore");
    let kept: Vec<&str> = kept.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    let members: Vec<String> = serde_json::from_str(members).expect("a list");
    for member in members {
        assert!(kept.contains(&&*member), "{member} is of the workspace");
    }
    for path in kept.iter().filter(|path| !path.contains('*')) {
        assert!(root().join(path).exists(), "{path}");
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(image().iter().any(|(word, rest)| word == "COPY" && rest.contains(file)), "{file}");
    }
}
