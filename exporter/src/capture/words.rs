//! Names of calls, errors and reasons: in the program they are constants, in a capture text.

use std::collections::BTreeMap;

/// No driver has so many calls and errors.
const MOST: usize = 512;
/// No name is so long.
const LONGEST: usize = 80;

/// Makes constants of text, each once; bounded, since they stay until the program ends.
#[derive(Debug, Default)]
pub struct Words(BTreeMap<String, &'static str>);

impl Words {
    /// The constant with this text.
    ///
    /// # Errors
    /// Where it is too long, or there are too many.
    pub fn keep(&mut self, text: &str) -> Result<&'static str, String> {
        if let Some(word) = self.0.get(text) {
            return Ok(word);
        }
        if text.len() > LONGEST || self.0.len() >= MOST {
            return Err(format!("more than {MOST} names of calls, or one over {LONGEST} bytes"));
        }
        let word: &'static str = Box::leak(text.into());
        self.0.insert(text.into(), word);
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_few_and_short() {
        let mut words = Words::default();
        let [first, again] = ["nvmlInit_v2", "nvmlInit_v2"].map(|text| words.keep(text).expect("short"));
        assert!(std::ptr::eq(first, again));
        assert!(words.keep(&"x".repeat(LONGEST + 1)).is_err());
        assert!((0..MOST).any(|number| words.keep(&number.to_string()).is_err()));
        assert!(words.keep("nvmlInit_v2").is_ok());
    }
}
