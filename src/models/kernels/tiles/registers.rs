//! The tile registers themselves. The compiler has no stable functions for them, so that their instructions are written here.
#![expect(unsafe_code, reason = "instructions that the compiler does not know")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::cell::Cell;
use std::sync::OnceLock;

use super::{Block, HALF, Left, Right, SIDE};
use crate::models::kernels::word::Pair;

/// Sets what the registers hold: all of them 16 rows of 64 bytes. Its layout is Intel's (palette 1).
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    /// Bytes of a row.
    widths: [u16; 16],
    rows: [u8; 16],
}

/// Bytes of a register's row.
const WIDTH: usize = 64;

/// Whether the processor has tile registers that multiply bf16, and the system saves them when it changes between threads.
pub(super) fn are_there() -> bool {
    static ARE_THERE: OnceLock<bool> = OnceLock::new();
    *ARE_THERE.get_or_init(|| is_in_processor() && is_allowed())
}

fn is_in_processor() -> bool {
    /// In what the processor says of itself in leaf 7: tiles, and products of bf16 in them.
    const TILES: u32 = 1 << 24 | 1 << 22;
    if !std::arch::is_x86_feature_detected!("avx512f") {
        return false;
    }
    let leaves = std::arch::x86_64::__get_cpuid_max(0).0;
    leaves >= 7 && __cpuid_count(7, 0).edx & TILES == TILES
}

/// Asks Linux for the registers, for all threads of the program.
fn is_allowed() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // Safety: the call takes two numbers.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Sets the shapes of this thread's registers, once: nothing else that the program runs does, since it asks candle for no quantized
/// products.
fn prepare() {
    thread_local! {
        static IS_PREPARED: Cell<bool> = const { Cell::new(false) };
    }
    if IS_PREPARED.replace(true) {
        return;
    }
    let mut shapes = Shapes { palette: 1, start: 0, reserved: [0; 14], widths: [0; 16], rows: [0; 16] };
    shapes.widths[..8].fill(WIDTH as u16);
    shapes.rows[..8].fill(HALF as u8);
    // Safety: it reads the 64 bytes of the shapes.
    unsafe {
        asm!(
            "ldtilecfg [{}]", in(reg) &raw const shapes,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags, readonly)
        );
    }
}

/// As [`super::multiply`]; fetches what is `ahead`, if that is not null.
///
/// # Safety
/// The registers are there, and both sides are as long as their rows and steps want; there is at least one step.
pub(super) unsafe fn multiply(left: Left<'_>, right: Right<'_>, adds: bool, ahead: *const u8, out: &mut Block) {
    prepare();
    let starts = right.steps.starts.as_ptr_range();
    let row = left.row * size_of::<half::bf16>();
    // Safety: as wanted. Registers 0 to 3 are the quarters of the block, 4 and 5 the rows, 6 and 7 the columns.
    unsafe {
        asm!(
            "test {right}, {right}",
            "jz 3f",
            "tileloadd tmm0, [{out} + {block}]",
            "tileloadd tmm1, [{out} + {block} + 64]",
            "tileloadd tmm2, [{out} + {block} + {half}]",
            "tileloadd tmm3, [{out} + {block} + {half} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {right}, [{start}]",
            "lea {right}, [{pairs} + {right} * 4]",
            "tileloadd tmm6, [{right} + {depth}]",
            "tileloadd tmm4, [{upper} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {depth} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "test {ahead}, {ahead}",
            "jz 4f",
            "prefetcht1 [{ahead} + 0]",
            "prefetcht1 [{ahead} + 64]",
            "prefetcht1 [{ahead} + 128]",
            "prefetcht1 [{ahead} + 192]",
            "prefetcht1 [{ahead} + 256]",
            "prefetcht1 [{ahead} + 320]",
            "prefetcht1 [{ahead} + 384]",
            "prefetcht1 [{ahead} + 448]",
            "prefetcht1 [{ahead} + 512]",
            "prefetcht1 [{ahead} + 576]",
            "prefetcht1 [{ahead} + 640]",
            "prefetcht1 [{ahead} + 704]",
            "prefetcht1 [{ahead} + 768]",
            "prefetcht1 [{ahead} + 832]",
            "prefetcht1 [{ahead} + 896]",
            "prefetcht1 [{ahead} + 960]",
            "add {ahead}, 1024",
            "4:",
            "add {upper}, {step}",
            "add {lower}, {step}",
            "add {start}, 8",
            "cmp {start}, {end}",
            "jb 2b",
            "tilestored [{out} + {block}], tmm0",
            "tilestored [{out} + {block} + 64], tmm1",
            "tilestored [{out} + {block} + {half}], tmm2",
            "tilestored [{out} + {block} + {half} + 64], tmm3",
            out = in(reg) out.as_mut_ptr(),
            half = const HALF * SIDE * size_of::<f32>(),
            block = in(reg) SIDE * size_of::<f32>(),
            upper = inout(reg) left.numbers.as_ptr() => _,
            lower = inout(reg) left.numbers.as_ptr().add(HALF * left.row) => _,
            row = in(reg) row,
            step = in(reg) left.step * size_of::<half::bf16>(),
            pairs = in(reg) right.pairs.as_ptr(),
            depth = in(reg) right.row * size_of::<Pair>(),
            start = inout(reg) starts.start => _,
            end = in(reg) starts.end,
            // Whether it adds, before it is a place.
            right = inout(reg) usize::from(adds) => _,
            ahead = inout(reg) ahead => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}
