//! Looks for a lack of GPU memory in the end of a job's output: libraries say it in words of their
//! own, and nothing else does.

use aho_corasick::{AhoCorasick, BuildError};

use crate::causes::with_causes;
use crate::fleet::oom::{Finding, Search};
use crate::ids::{AttemptNo, JobId};
use crate::logs::{End, LogStore};
use crate::spec::redact;

/// Bytes of each stream's end that are looked at: a traceback is long, a whole log is another
/// job's worth of reading.
const LOOKED_AT: usize = 64 * 1024;
/// Longest line that is kept.
const LINE_MAX: usize = 400;

/// What libraries print when a card has no memory left: the common frameworks' own sentences, and
/// the names of the error codes of CUDA and its libraries, HIP, Level Zero, SYCL and Vulkan.
const PATTERNS: [&str; 19] = [
    "CUDA out of memory",
    "torch.cuda.OutOfMemoryError",
    "torch.OutOfMemoryError",
    "CUDA error: out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cudaMalloc failed: out of memory",
    "RESOURCE_EXHAUSTED: Out of memory",
    "OOM when allocating tensor",
    "No available memory for the cache blocks",
    "HIP out of memory",
    "hipErrorOutOfMemory",
    "HIPBLAS_STATUS_ALLOC_FAILED",
    "ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
    "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
    "VK_ERROR_OUT_OF_DEVICE_MEMORY",
];

/// Looks into what an attempt wrote. Reads a file: not for a thread that must not wait.
pub(super) fn look(
    logs: &LogStore,
    (job, attempt): (JobId, AttemptNo),
    search: &Search,
) -> Finding {
    let ends = match logs.ends(job, attempt, LOOKED_AT) {
        Ok(ends) => ends,
        Err(error) => return Finding::Unreadable(with_causes(&error)),
    };
    let words = match automaton(search) {
        Ok(words) => words,
        Err(error) => return Finding::Unreadable(with_causes(&error)),
    };
    // Errors are said on standard error; a program that prints them elsewhere is heard, too.
    [&ends.stderr, &ends.stdout]
        .into_iter()
        .find_map(|end| line(&words, end, search))
        .map_or(Finding::Nothing, Finding::Line)
}

fn automaton(search: &Search) -> Result<AhoCorasick, BuildError> {
    let own = search.patterns.iter().map(String::as_str);
    AhoCorasick::builder().ascii_case_insensitive(true).build(PATTERNS.into_iter().chain(own))
}

/// The last line with one of the words, fit to be kept.
fn line(words: &AhoCorasick, end: &End, search: &Search) -> Option<String> {
    let text = String::from_utf8_lossy(&end.bytes);
    // Progress bars write over their line. The first line may have lost its beginning, and with it
    // what makes a secret known as one.
    let lines = text.split(['\n', '\r']).skip(usize::from(end.is_cut));
    let found = lines.filter(|line| words.is_match(*line)).last()?;
    let shown = redact(&search.secrets.mask(found.trim()));
    let plain = shown.chars().filter(|c| !c.is_control());
    Some(plain.take(LINE_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Secrets;

    fn end(text: &str) -> End {
        End { bytes: text.as_bytes().to_vec(), is_cut: false }
    }

    fn found(text: &str, search: &Search) -> Option<String> {
        line(&automaton(search).expect("words"), &end(text), search)
    }

    // What each library really prints.
    #[test]
    fn every_library_is_understood_in_its_own_words() {
        let lines = [
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a \
             total capacity of 15.73 GiB of which 1.10 GiB is free.",
            "RuntimeError: CUDA error: out of memory",
            "cuda runtime error (2) : out of memory: cudaErrorMemoryAllocation",
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: \
             cudaMalloc failed: out of memory",
            "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying \
             to allocate 8589934592 bytes.",
            "ValueError: No available memory for the cache blocks. Try increasing \
             `gpu_memory_utilization` when initializing the engine.",
            "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB",
        ];
        for text in lines {
            let told = found(&format!("Traceback\n{text}\n\n"), &Search::default());
            assert_eq!(told.as_deref(), Some(text));
        }
        assert!(found("cuda OUT OF memory", &Search::default()).is_some());
        for other in ["Killed", "MemoryError", "java.lang.OutOfMemoryError: Java heap space"] {
            assert_eq!(found(other, &Search::default()), None, "{other}");
        }
    }

    #[test]
    fn the_last_such_line_is_kept_without_secrets_and_the_own_words_count() {
        let own = Search { patterns: vec!["no VRAM left".to_owned()], ..Search::default() };
        let text = "CUDA out of memory (1)\rCUDA out of memory (2)\nNo vram left, sorry\nbye";
        assert_eq!(found(text, &own).as_deref(), Some("No vram left, sorry"));
        assert_eq!(found(text, &Search::default()).as_deref(), Some("CUDA out of memory (2)"));
        let variables = [("HF_TOKEN".to_owned(), "hidden-value".to_owned())];
        let secret =
            Search { secrets: Secrets::of_variables(&variables.into()), ..Search::default() };
        let told = found("\u{1b}[31mCUDA out of memory for hidden-value", &secret);
        let told = told.expect("it is there");
        assert!(!told.contains("hidden-value") && !told.contains('\u{1b}'), "{told}");
        let long = format!("CUDA out of memory {}", "x".repeat(1000));
        assert_eq!(found(&long, &own).map(|line| line.chars().count()), Some(LINE_MAX));
    }

    #[test]
    fn a_line_that_lost_its_beginning_is_not_looked_at() {
        let words = automaton(&Search::default()).expect("words");
        let cut = End { is_cut: true, ..end("CUDA out of memory\nbye") };
        assert_eq!(line(&words, &cut, &Search::default()), None);
    }
}
