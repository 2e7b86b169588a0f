//! Copying, filling, comparing and dividing, made short: the compiler calls them by these names.
//!
//! The library's own are made for speed and take 1.6 KB more flash. These follow the "Run-time ABI for the Arm
//! Architecture", sections 4.2 and 4.3.4. Words are copied at any address, which a Cortex-M3 may do (CCR.UNALIGN_TRP is
//! 0 after reset); a division takes some 800 cycles. They were held against plain loops, over all lengths below 40 at all
//! alignments and 200,000 divisions, under QEMU.

use core::arch::global_asm;

global_asm!(
    ".syntax unified",
    ".macro export names:vararg",
    ".irp name, \\names",
    ".global \\name",
    ".type \\name, %function",
    ".thumb_func",
    "\\name:",
    ".endr",
    ".endm",
    // (to, from, bytes) -> to; the two may overlap.
    ".section .text.downbeat_move, \"ax\", %progbits",
    "export memmove, __aeabi_memmove, __aeabi_memmove4, __aeabi_memmove8",
    "subs r3, r0, r1",
    "cmp r3, r2",
    // `to` is not within `from`: forwards.
    "bhs 2f",
    "1: subs r2, #1",
    "itt hs",
    "ldrbhs r3, [r1, r2]",
    "strbhs r3, [r0, r2]",
    "bhi 1b",
    "bx lr",
    // (to, from, bytes) -> to
    "export memcpy, __aeabi_memcpy, __aeabi_memcpy4, __aeabi_memcpy8",
    "2: mov r12, r0",
    "3: subs r2, #4",
    "itt hs",
    "ldrhs r3, [r1], #4",
    "strhs r3, [r12], #4",
    "bhi 3b",
    "beq 5f",
    "adds r2, #4",
    "4: subs r2, #1",
    "itt hs",
    "ldrbhs r3, [r1], #1",
    "strbhs r3, [r12], #1",
    "bhi 4b",
    "5: bx lr",
    // (at, bytes)
    ".section .text.downbeat_fill, \"ax\", %progbits",
    "export __aeabi_memclr, __aeabi_memclr4, __aeabi_memclr8",
    "movs r2, #0",
    // (at, bytes, value)
    "export __aeabi_memset, __aeabi_memset4, __aeabi_memset8",
    "mov r3, r1",
    "mov r1, r2",
    "mov r2, r3",
    // (at, value, bytes) -> at
    "export memset",
    "1: subs r2, #1",
    "it hs",
    "strbhs r1, [r0, r2]",
    "bhi 1b",
    "bx lr",
    // (one, other, bytes) -> below, at or above 0
    ".section .text.downbeat_compare, \"ax\", %progbits",
    "export memcmp",
    "1: subs r2, #1",
    "blo 2f",
    "ldrb r3, [r0], #1",
    "ldrb r12, [r1], #1",
    "subs r3, r3, r12",
    "beq 1b",
    "mov r0, r3",
    "bx lr",
    "2: movs r0, #0",
    "bx lr",
    // (numerator, denominator) -> quotient, rest: pairs of registers, low word first.
    ".section .text.downbeat_divide, \"ax\", %progbits",
    "export __aeabi_uldivmod",
    "push {{r4, r5, r6, lr}}",
    "movs r4, #0",
    "movs r5, #0",
    "movs r6, #64",
    // The next bit of the numerator goes into the rest, r4 and r5; r0 and r1 fill with the quotient.
    "1: adds r0, r0, r0",
    "adcs r1, r1",
    "adcs r4, r4",
    "adcs r5, r5",
    "bcs 2f",
    "cmp r5, r3",
    "it eq",
    "cmpeq r4, r2",
    "blo 3f",
    "2: subs r4, r4, r2",
    "sbcs r5, r3",
    "adds r0, #1",
    "3: subs r6, #1",
    "bne 1b",
    "mov r2, r4",
    "mov r3, r5",
    "pop {{r4, r5, r6, pc}}",
);
