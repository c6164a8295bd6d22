//! The shapes of identifiers: a value that has another shape is no identifier, wherever it stands.

/// A container's id: 64 hexadecimal digits, or Docker's short form of 12.
pub(super) fn is_container_id(text: &str) -> bool {
    matches!(text.len(), 12 | 64) && is_hex(text)
}

/// A container's id where nothing but the id stands: 64 hexadecimal digits.
pub(super) fn is_full_container_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// The pod's uid in its usual form, out of a cgroup's name. systemd writes `_` for `-`; a static pod's uid is
/// a hash of 32 digits without dashes.
pub(super) fn pod_uid(text: &str) -> Option<String> {
    let uid = text.replace('_', "-");
    let groups: Vec<&str> = uid.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let known = matches!(lengths[..], [8, 4, 4, 4, 12] | [32]);
    (known && groups.iter().all(|group| is_hex(group))).then_some(uid)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One digit or more.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits, letters, `.`, `-` and `_`: a host, a node, a container that was given a name.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(allowed)
}

/// A Slurm step: a number, a heterogeneous part `0+1`, or a word such as `batch`.
pub(super) fn is_step(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'+')
}

/// A Slurm lexically sorted id: `s` and 13 digits of base 32.
pub(super) fn is_sluid(text: &str) -> bool {
    let digits = text.strip_prefix('s').unwrap_or_default();
    digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// A batch system's job number out of its cgroup's name: `12345`, `12345.server`, or one of an array,
/// `12345[7].server`.
pub(super) fn batch_job(text: &str) -> Option<&str> {
    let job = text.split('.').next().unwrap_or_default();
    let number = match job.split_once('[') {
        Some((number, index)) => index.strip_suffix(']').filter(|index| is_number(index)).map(|_| number),
        None => Some(job),
    };
    number.filter(|number| is_number(number)).map(|_| job)
}

/// Reverses systemd's `\xHH`. Absent where the result is not text, or holds control characters.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = rest.strip_prefix(b"\\x").and_then(|rest| rest.split_first_chunk::<2>());
        let (byte, after) =
            match escaped.and_then(|([high, low], after)| Some((hex(*high)? << 4 | hex(*low)?, after))) {
                Some(found) => found,
                None => (*first, tail),
            };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
