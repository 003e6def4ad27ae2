//! The files inside a zip archive, where they lie in its bytes: as much of the format (PKWARE's APPNOTE) as `torch.save` writes, which
//! packs nothing.

use std::collections::HashMap;
use std::ops::Range;

/// More files than any model has.
const MOST_FILES: u64 = 200_000;
/// Bytes of the record at the end without its comment, which is at most this long.
const END: usize = 22;
const LONGEST_COMMENT: usize = 65_535;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..N)?.copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(wide))
}

fn place(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}

/// The files of the archive by name; `None` if it is damaged, or one of them is packed.
pub(super) fn files(archive: &[u8]) -> Option<HashMap<String, Range<usize>>> {
    let (count, mut at) = directory(archive)?;
    let mut files = HashMap::new();
    for _ in 0..count {
        if number::<4>(archive, at)? != 0x0201_4b50 {
            return None;
        }
        let packing = number::<2>(archive, at + 10)?;
        let (packed, whole) = (number::<4>(archive, at + 20)?, number::<4>(archive, at + 24)?);
        let lengths = [28, 30, 32].map(|field| number::<2>(archive, at + field).and_then(place));
        let [Some(name), Some(extra), Some(comment)] = lengths else { return None };
        let offset = number::<4>(archive, at + 42)?;
        let name_at = at + 46;
        let text = String::from_utf8_lossy(archive.get(name_at..name_at + name)?).into_owned();
        let wide = Wide(archive.get(name_at + name..name_at + name + extra)?);
        let [whole, packed, offset] = wide.of([whole, packed, offset])?;
        if packing != 0 || packed != whole {
            return None;
        }
        files.insert(text, contents(archive, place(offset)?, place(whole)?)?);
        at = name_at + name + extra + comment;
    }
    Some(files)
}

/// How many files there are, and where their list begins.
fn directory(archive: &[u8]) -> Option<(u64, usize)> {
    let last = archive.len().checked_sub(END)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    let end = (first..=last).rev().find(|at| number::<4>(archive, *at) == Some(0x0605_4b50))?;
    let (mut count, mut start) = (number::<2>(archive, end + 10)?, number::<4>(archive, end + 16)?);
    // Large archives have a second record with wider numbers.
    let locator = end.checked_sub(20).filter(|at| number::<4>(archive, *at) == Some(0x0706_4b50));
    if let Some(locator) = locator.filter(|_| count == 0xffff || start == 0xffff_ffff) {
        let record = place(number::<8>(archive, locator + 8)?)?;
        if number::<4>(archive, record)? != 0x0606_4b50 {
            return None;
        }
        (count, start) =
            (number::<8>(archive, record.checked_add(32)?)?, number::<8>(archive, record.checked_add(48)?)?);
    }
    (count <= MOST_FILES).then_some((count, place(start)?))
}

/// Further fields of a file's record, of which one holds numbers that are too large for theirs.
struct Wide<'a>(&'a [u8]);

impl Wide<'_> {
    fn of(&self, numbers: [u64; 3]) -> Option<[u64; 3]> {
        const FULL: u64 = 0xffff_ffff;
        if !numbers.contains(&FULL) {
            return Some(numbers);
        }
        let mut at = 0;
        while number::<2>(self.0, at)? != 1 {
            at += 4 + place(number::<2>(self.0, at + 2)?)?;
        }
        at += 4;
        let mut wide = numbers;
        for number_here in wide.iter_mut().filter(|number| **number == FULL) {
            *number_here = number::<8>(self.0, at)?;
            at += 8;
        }
        Some(wide)
    }
}

/// Where the bytes of the file lie whose own record is at `offset`.
fn contents(archive: &[u8], offset: usize, length: usize) -> Option<Range<usize>> {
    if number::<4>(archive, offset)? != 0x0403_4b50 {
        return None;
    }
    let (name, extra) =
        (number::<2>(archive, offset.checked_add(26)?)?, number::<2>(archive, offset.checked_add(28)?)?);
    let start = offset.checked_add(30 + place(name)? + place(extra)?)?;
    let end = start.checked_add(length).filter(|end| *end <= archive.len())?;
    Some(start..end)
}
