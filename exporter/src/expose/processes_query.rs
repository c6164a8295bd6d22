//! What is asked of `/api/v1/processes`: the part of the address behind the question mark. Pure.

use crate::account::snapshot::GpuView;

/// How many processes are in an answer, unless asked for otherwise.
const LIMIT: usize = 1000;
/// How many are in it at most.
const LARGEST_LIMIT: usize = 10_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Explain this process instead of listing all.
    pub pid: Option<u32>,
    /// Only this GPU.
    pub gpu: Option<Which>,
    /// So many processes at most.
    pub limit: usize,
    /// So many are passed over.
    pub offset: usize,
}

/// A GPU, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Index(u32),
    Uuid(String),
}

impl Which {
    /// Whether it is this GPU.
    pub fn names(&self, gpu: &GpuView) -> bool {
        match self {
            Self::Index(index) => gpu.card.index == *index,
            Self::Uuid(uuid) => *gpu.card.uuid == **uuid,
        }
    }
}

impl Query {
    /// Reads `pid=1&gpu=0&limit=5&offset=5`; each at most once.
    ///
    /// # Errors
    /// What cannot be understood, and the way out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self { pid: None, gpu: None, limit: LIMIT, offset: 0 };
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(format!("{name}: it is given twice: give it once"));
            }
            seen.push(name);
            match name {
                "pid" => query.pid = Some(number(name, value)?),
                "gpu" => query.gpu = Some(which(value)),
                "limit" => query.limit = limit(number(name, value)?)?,
                "offset" => query.offset = number(name, value)?,
                _ => return Err("unknown parameter: known are pid, gpu, limit and offset".into()),
            }
        }
        Ok(query)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.ok_or_else(|| format!("{name}: not a number: write {name}=1"))
}

fn limit(limit: usize) -> Result<usize, String> {
    if (1..=LARGEST_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(format!("limit: out of range: choose from 1 to {LARGEST_LIMIT}, and go on with offset"))
}

fn which(value: &str) -> Which {
    value.parse().map_or_else(|_| Which::Uuid(value.into()), Which::Index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Query) {
        assert_eq!(Query::parse(text), Ok(want));
    }

    fn query() -> Query {
        Query { pid: None, gpu: None, limit: 1000, offset: 0 }
    }

    #[test]
    fn what_is_not_asked_has_a_default() {
        check("", query());
        check("pid=7", Query { pid: Some(7), ..query() });
        check(
            "gpu=3&limit=10&offset=20",
            Query { gpu: Some(Which::Index(3)), limit: 10, offset: 20, ..query() },
        );
        check("gpu=GPU-1", Query { gpu: Some(Which::Uuid("GPU-1".into())), ..query() });
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_the_way_out() {
        for (text, want) in [
            ("pid=x", "pid: not a number"),
            ("pid=-1", "pid: not a number"),
            ("pid=4294967296", "pid: not a number"),
            ("pid", "pid: not a number"),
            ("limit=0", "choose from 1 to 10000"),
            ("limit=10001", "choose from 1 to 10000"),
            ("pid=1&pid=2", "pid: it is given twice"),
            ("proc=1", "known are pid, gpu, limit and offset"),
        ] {
            let error = Query::parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
