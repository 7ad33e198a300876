// SPDX-License-Identifier: Apache-2.0
//
// Counts the words of its input, sleeps, and panics when it is asked to. Built with --target wasm32-wasip1.
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(5));
    let slept = start.elapsed() >= Duration::from_millis(5);
    let files = std::fs::read("/etc/passwd").is_ok();
    println!("{counts:?} {slept} {files} {:?}", std::env::var("PLACE"));
    if counts.contains_key("panic") {
        panic!("as asked");
    }
}
