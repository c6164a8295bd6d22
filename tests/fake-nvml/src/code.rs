//! NVML's return codes by number and name. Used by scenarios (faults) and by every answer.

use std::ffi::CStr;

use nvml_wrapper_sys::bindings as sys;
use serde::{Deserialize, Serialize};

/// A return code of NVML; in a scenario a number, or the name of a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "u32")]
pub struct Code(pub u32);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Name(String),
}

macro_rules! codes {
    ($($name:ident $code:ident $text:literal,)*) => {
        #[expect(missing_docs, reason = "the names of NVML's header")]
        impl Code {
            $(pub const $name: Self = Self(sys::$code);)*

            const NAMED: &[(Self, &str, &CStr)] = &[$((Self::$name, stringify!($name), $text),)*];
        }
    };
}

codes! {
    SUCCESS nvmlReturn_enum_NVML_SUCCESS c"Success",
    UNINITIALIZED nvmlReturn_enum_NVML_ERROR_UNINITIALIZED c"Uninitialized",
    INVALID_ARGUMENT nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT c"Invalid Argument",
    NOT_SUPPORTED nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED c"Not Supported",
    NO_PERMISSION nvmlReturn_enum_NVML_ERROR_NO_PERMISSION c"Insufficient Permissions",
    NOT_FOUND nvmlReturn_enum_NVML_ERROR_NOT_FOUND c"Not Found",
    INSUFFICIENT_SIZE nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE c"Insufficient Size",
    DRIVER_NOT_LOADED nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED c"Driver Not Loaded",
    TIMEOUT nvmlReturn_enum_NVML_ERROR_TIMEOUT c"Timeout",
    GPU_IS_LOST nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST c"GPU is lost",
    RESET_REQUIRED nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED c"GPU requires reset",
    OPERATING_SYSTEM nvmlReturn_enum_NVML_ERROR_OPERATING_SYSTEM c"The operating system has blocked the request",
    LIB_RM_VERSION_MISMATCH nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH c"Driver/library version mismatch",
    IN_USE nvmlReturn_enum_NVML_ERROR_IN_USE c"In use by another client",
    NO_DATA nvmlReturn_enum_NVML_ERROR_NO_DATA c"No data",
    ARGUMENT_VERSION_MISMATCH nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH c"Argument version mismatch",
    UNKNOWN nvmlReturn_enum_NVML_ERROR_UNKNOWN c"Unknown Error",
}

impl Code {
    /// What `nvmlErrorString` says.
    pub(crate) fn text(self) -> &'static CStr {
        Self::NAMED.iter().find(|(code, ..)| *code == self).map_or(c"Unknown code", |(_, _, text)| text)
    }
}

impl TryFrom<Written> for Code {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(number) => Ok(Self(number)),
            Written::Name(name) => Self::NAMED
                .iter()
                .find(|(_, known, _)| known.eq_ignore_ascii_case(&name))
                .map(|(code, ..)| *code)
                .ok_or_else(|| format!("unknown return code {name:?}; a number is always allowed")),
        }
    }
}

impl From<Code> for u32 {
    fn from(code: Code) -> Self {
        code.0
    }
}
