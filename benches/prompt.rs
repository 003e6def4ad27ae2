//! The prompt language on a megabyte of nested brackets: processor time of reading, explaining, expanding, highlighting and linting it.
//!
//! Each line is one text: what is read slowest of it, and the slowest expansion, in milliseconds; `cargo bench --bench prompt`, with the
//! start of a text to time those alone. What the brackets hold and whether they are closed differs, since each of these was quadratic in
//! some parser once.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;
#[cfg(not(unix))]
use std::time::Instant;

use maquette::prompt::chips::Chips;
use maquette::prompt::dialect::{self, Dialect};
use maquette::prompt::expand::wildcards::Wildcards;
use maquette::prompt::expand::{Method, Wanted, expand};
use maquette::prompt::highlight::highlight;
use maquette::prompt::infotext::Infotext;
use maquette::prompt::lint;

const BYTES: usize = 1_000_000;

/// What is opened, and what closes it.
const PAIRS: [(&str, &str); 37] = [
    ("(", ")"),
    ("(a", ":1.1)"),
    ("(a, ", ")1.1"),
    ("(a", ")++"),
    ("[", "]"),
    ("[a:", ":5]"),
    ("[a:", "]"),
    ("[a:[b:", ":.5]:3]"),
    ("[a|", "]"),
    ("[|", "]"),
    ("{", "}"),
    ("{a|", "}"),
    ("{a|b", "|c}"),
    ("{2$$a|", "}"),
    ("{0.5::a|", "}"),
    ("{~", "}"),
    ("{@a|", "}"),
    ("{!a|", "}"),
    ("<", ">"),
    ("<lora:", ":1>"),
    ("<random:a|", ">"),
    ("<alternate:", ">"),
    ("<fromto[0.5]:a,", ">"),
    ("<fromto[", "]:a,b>"),
    ("__", "__"),
    ("__a(", ")__"),
    ("__a(x={b|", "})__"),
    ("${", "}"),
    ("${a:", "}"),
    ("${a=", "}"),
    ("${a=!{", "}}"),
    ("%{", "}"),
    ("%{a$$", "}"),
    ("(\"a", "\").and()"),
    ("1.3::", "::"),
    ("/*", "*/"),
    ("([{<", ">}])"),
];

/// Other texts of a megabyte that have no opening and closing.
const REPEATED: [&str; 16] = [
    "((a) ",
    "[[a] ",
    "{{a} ",
    "<<a> ",
    "\\(",
    "a AND ",
    "BREAK ",
    "a+ ",
    "a- ",
    "a, ",
    "(a:1.2) ",
    "[a:b:3] ",
    "[a|b] ",
    "#\n",
    "embedding:a ",
    "\"",
];

/// Each is timed so often; the quickest counts, since others may use the machine.
const ROUNDS: usize = 3;

fn main() {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    println!("{:<28} {:>9} {:<18} {:>9}", "1 MB of", "read, ms", "by", "expanded, ms");
    let mut worst = [Duration::ZERO; 2];
    for (name, text) in texts().into_iter().filter(|(name, _)| name.starts_with(&only)) {
        let [read, expanded] = [reading(&text), expansion(&text)];
        worst = [worst[0].max(read.1), worst[1].max(expanded.1)];
        println!("{name:<28} {:>9.1} {:<18} {:>9.1}", ms(read.1), read.0, ms(expanded.1));
    }
    println!("{:<28} {:>9.1} {:<18} {:>9.1}", "the slowest of all", ms(worst[0]), "", ms(worst[1]));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (open, close) in PAIRS {
        texts.push((format!("{open}{open}{open}…"), open.repeat(BYTES / open.len())));
        texts.push((format!("…{close}{close}"), close.repeat(BYTES / close.len())));
        let half = BYTES / (open.len() + close.len());
        texts.push((format!("{open}{open}…{close}{close}"), open.repeat(half) + &close.repeat(half)));
        texts.push((format!("{open}{close}{open}{close}…"), format!("{open}{close}").repeat(half)));
    }
    texts.extend(REPEATED.map(|text| (format!("{text:?}…"), text.repeat(BYTES / text.len()))));
    texts
}

/// What takes longest, and how long.
type Slowest = (String, Duration);

fn time(slowest: &mut Slowest, name: String, run: &dyn Fn()) {
    let rounds = (0..ROUNDS).map(|_| {
        let start = processor_time();
        run();
        processor_time().saturating_sub(start)
    });
    let took = rounds.min().unwrap_or_default();
    if took > slowest.1 {
        *slowest = (name, took);
    }
}

fn reading(text: &str) -> Slowest {
    let mut slowest = Slowest::default();
    for dialect in Dialect::ALL {
        time(&mut slowest, format!("explain {}", dialect.name()), &|| {
            black_box(dialect::explain(dialect, text, 20));
        });
        let tree = dialect::read(dialect, text).0;
        time(&mut slowest, format!("write {}", dialect.name()), &|| {
            black_box(dialect::write(dialect, &tree));
        });
    }
    time(&mut slowest, "highlight".to_owned(), &|| {
        black_box(highlight(text));
    });
    time(&mut slowest, "lint".to_owned(), &|| {
        black_box(lint::words(text, text));
    });
    time(&mut slowest, "chips".to_owned(), &|| {
        black_box(Chips::read(text));
    });
    time(&mut slowest, "infotext".to_owned(), &|| {
        black_box(Infotext::parse(text));
    });
    slowest
}

fn expansion(text: &str) -> Slowest {
    let mut slowest = Slowest::default();
    let (wildcards, _) = Wildcards::parse([("a.txt", "x\ny")]);
    for method in [Method::Random, Method::Combinatorial] {
        time(&mut slowest, format!("{method:?}"), &|| {
            black_box(expand(text, &wildcards, Wanted { method, seed: 1, count: 1 }));
        });
    }
    slowest
}

/// Processor time of this thread.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Without such a clock, time on the wall.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}
