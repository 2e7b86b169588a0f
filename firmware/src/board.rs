//! The LM3S6965: its serial ports, its clock, its sleep, and the end of the program. With `mem.rs` the only `unsafe` of
//! this package.
//!
//! Why each `unsafe` is sound: all register addresses are those of the LM3S6965's data sheet, which QEMU's
//! `lm3s6965evb` models; they are aligned, always mapped, and read and written as whole words; one loop and two
//! interrupt handlers use them, and these share no register but the interrupt masks, which the loop writes with
//! interrupts off. The stack's bounds come from `memory.x`.

use core::arch::{asm, naked_asm};
use core::cell::Cell;

use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use downbeat_core::machine::{Clock, Instant};

const RCGC1: usize = 0x400f_e104;
const RCGC2: usize = 0x400f_e108;
const GPIOA_AFSEL: usize = 0x4000_4420;
const GPIOA_DEN: usize = 0x4000_451c;
const GPIOD_AFSEL: usize = 0x4000_7420;
const GPIOD_DEN: usize = 0x4000_751c;
const TIMER0: usize = 0x4003_0000;
const UART0_INTERRUPT: u32 = 5;
const TIMER0_INTERRUPT: u32 = 19;
/// Enables interrupts 0 to 31.
const NVIC_ISER: usize = 0xe000_e100;

/// The processor's clock after reset: 12.5 MHz, which is this many microseconds in so many cycles.
const MICROS_PER_CYCLE: (u32, u32) = (2, 25);
/// SysTick counts 24 bits: it wraps after 1.3 s, and is read more often than that.
const SYSTICK_MASK: u32 = 0x00ff_ffff;
/// The longest sleep, in microseconds: the clock must be read before SysTick wraps.
const SLEEP_MAX: u32 = 1_000_000;

/// The memory protection unit: region and its base, its attributes, the switch.
const MPU_RBAR: usize = 0xe000_ed9c;
const MPU_RASR: usize = 0xe000_eda0;
const MPU_CTRL: usize = 0xe000_ed94;

/// Why the program ends; the exit code of QEMU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// All went as it should.
    Well = 0,
    /// It could not start: a policy or a buffer is wrong.
    Setup = 1,
    /// It panicked.
    Panic = 2,
    /// A fault of the processor: the stack left RAM, or worse.
    Fault = 3,
}

fn read(address: usize) -> u32 {
    // SAFETY: see the head of this file.
    unsafe { (address as *const u32).read_volatile() }
}

fn write(address: usize, value: u32) {
    // SAFETY: see the head of this file.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// A serial port.
#[derive(Clone, Copy, Debug)]
pub struct Uart(usize);

/// The line to the bridge.
pub const LINE: Uart = Uart(0x4000_c000);
/// Text for people.
pub const CONSOLE: Uart = Uart(0x4000_d000);

impl Uart {
    const FLAGS: usize = 0x18;
    const RECEIVE_EMPTY: u32 = 1 << 4;
    const TRANSMIT_FULL: u32 = 1 << 5;
    const INTERRUPT_MASK: usize = 0x38;
    const RECEIVE_INTERRUPT: u32 = 1 << 4 | 1 << 6;

    /// Turns the port on: 115,200 baud, eight bits, no parity, FIFOs.
    fn enable(self) {
        write(self.0 + 0x30, 0);
        write(self.0 + 0x24, 6);
        write(self.0 + 0x28, 50);
        write(self.0 + 0x2c, 0x70);
        write(self.0 + 0x30, 0x301);
    }

    /// The next byte received, if there is one.
    pub fn receive(self) -> Option<u8> {
        if read(self.0 + Self::FLAGS) & Self::RECEIVE_EMPTY != 0 {
            return None;
        }
        // Bits 8 to 11 tell of line errors; the frames' check finds what they did.
        Some(read(self.0).to_le_bytes()[0])
    }

    /// Sends bytes; waits while the port is busy.
    pub fn send(self, bytes: &[u8]) {
        for byte in bytes {
            while read(self.0 + Self::FLAGS) & Self::TRANSMIT_FULL != 0 {}
            write(self.0, u32::from(*byte));
        }
    }

    fn is_idle(self) -> bool {
        read(self.0 + Self::FLAGS) & Self::RECEIVE_EMPTY != 0
    }
}

/// Turns on what the program uses. Call once, first.
pub fn start() {
    // Nobody may touch the 64 KiB below RAM: a stack that grows into them faults. The chip has nothing there and would
    // fault anyhow; QEMU would drop what is written.
    write(MPU_RBAR, 0x1fff_0000 | 1 << 4);
    write(MPU_RASR, 1 << 28 | 15 << 1 | 1);
    write(MPU_CTRL, 1 << 2 | 1);
    // Clocks of UART0, UART1, TIMER0, and of the ports A and D that the UARTs' pins are on.
    write(RCGC1, read(RCGC1) | 1 << 16 | 0b11);
    write(RCGC2, read(RCGC2) | 1 << 3 | 1);
    for register in [GPIOA_AFSEL, GPIOA_DEN] {
        write(register, read(register) | 0b11);
    }
    for register in [GPIOD_AFSEL, GPIOD_DEN] {
        write(register, read(register) | 0b1100);
    }
    LINE.enable();
    CONSOLE.enable();
    if let Some(core) = cortex_m::Peripherals::take() {
        let mut systick = core.SYST;
        systick.set_clock_source(SystClkSource::Core);
        systick.set_reload(SYSTICK_MASK);
        systick.clear_current();
        systick.enable_counter();
    }
    write(NVIC_ISER, 1 << UART0_INTERRUPT | 1 << TIMER0_INTERRUPT);
}

/// Microseconds since the start; what is left below one, in half cycles; and SysTick's count when they were added.
static CLOCK: Mutex<Cell<(u64, u32, u32)>> = Mutex::new(Cell::new((0, 0, 0)));

/// Microseconds since the start. Must be called once a second.
fn micros() -> u64 {
    free(|section| {
        let clock = CLOCK.borrow(section);
        let (sum, rest, last) = clock.get();
        let count = cortex_m::peripheral::SYST::get_current();
        // It counts down. 24 bits, doubled, leave room for the rest.
        let passed = (last.wrapping_sub(count) & SYSTICK_MASK) * MICROS_PER_CYCLE.0 + rest;
        let sum = sum.wrapping_add(u64::from(passed / MICROS_PER_CYCLE.1));
        clock.set((sum, passed % MICROS_PER_CYCLE.1, count));
        sum
    })
}

/// The board's clock, for core.
pub struct BoardClock;

impl Clock for BoardClock {
    fn now(&self) -> Instant {
        Instant::from_micros(micros())
    }
}

/// Sleeps until a byte is on the line or it is so late, and never longer than a second.
pub fn sleep(now: Instant, until: Instant) {
    let micros = until.as_micros().saturating_sub(now.as_micros());
    let micros = u32::try_from(micros).unwrap_or(SLEEP_MAX).clamp(10, SLEEP_MAX);
    let cycles = micros.saturating_mul(25) / 2;
    write(TIMER0 + 0x0c, 0);
    write(TIMER0, 0);
    write(TIMER0 + 0x04, 1);
    write(TIMER0 + 0x28, cycles);
    write(TIMER0 + 0x18, 1);
    // With interrupts off one that is pending still ends the sleep, so none is missed between the look and the sleep.
    free(|_| {
        write(LINE.0 + Uart::INTERRUPT_MASK, Uart::RECEIVE_INTERRUPT);
        write(TIMER0 + 0x0c, 1);
        if LINE.is_idle() {
            cortex_m::asm::wfi();
        }
    });
}

/// The interrupts up to the last one used; the table of all 240 that the core may have would be a kilobyte.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); TIMER0_INTERRUPT as usize + 1] = {
    unsafe extern "C" {
        fn DefaultHandler();
    }
    [DefaultHandler; TIMER0_INTERRUPT as usize + 1]
};

/// Interrupts only end a sleep: each turns itself off.
#[exception]
// SAFETY: it shares the interrupt masks with `sleep` alone, which writes them with interrupts off.
unsafe fn DefaultHandler(_number: i16) {
    write(LINE.0 + Uart::INTERRUPT_MASK, 0);
    write(TIMER0 + 0x24, 1);
    write(TIMER0 + 0x18, 0);
}

/// Ends the program as [`exit`] does, without the stack: that may be what is broken.
#[unsafe(naked)]
#[unsafe(no_mangle)]
// SAFETY: it touches no memory but a constant, and does not return.
unsafe extern "C" fn HardFault() -> ! {
    static BLOCK: [u32; 2] = [APPLICATION_EXIT, Exit::Fault as u32];
    naked_asm!(
        "movw r1, :lower16:{block}",
        "movt r1, :upper16:{block}",
        "movs r0, #{call}",
        "1: bkpt 0xab",
        "b 1b",
        block = sym BLOCK,
        call = const EXIT_EXTENDED,
    )
}

/// How many bytes of stack were ever in use, and how many there are.
pub fn stack() -> (usize, usize) {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    /// What `cortex-m-rt` fills the stack with before `main`.
    const PAINT: u32 = 0xcccc_cccc;
    let (top, bottom) = (&raw const _stack_start, &raw const _stack_end);
    let words = (top as usize - bottom as usize) / size_of::<u32>();
    // SAFETY: the words between the two symbols of memory.x are the stack, all of it RAM.
    let untouched = (0..words).take_while(|at| unsafe { bottom.add(*at).read_volatile() } == PAINT).count();
    ((words - untouched) * size_of::<u32>(), words * size_of::<u32>())
}

/// Semihosting: the call, and the reason that it takes.
const EXIT_EXTENDED: u32 = 0x20;
const APPLICATION_EXIT: u32 = 0x0002_0026;

/// Ends the program, and QEMU with this exit code (semihosting, `SYS_EXIT_EXTENDED`).
pub fn exit(code: Exit) -> ! {
    let block = [APPLICATION_EXIT, code as u32];
    loop {
        // SAFETY: a breakpoint that the debugger or QEMU answers; it reads two words at `block`.
        unsafe { asm!("bkpt 0xab", inout("r0") EXIT_EXTENDED => _, in("r1") block.as_ptr()) };
    }
}

/// A seed for the worker's jitter: how long the start has taken. A product has better: its serial number.
pub fn seed() -> u64 {
    micros() | 1 << 32
}
