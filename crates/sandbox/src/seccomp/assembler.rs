//! An assembler for the kernel's classic BPF, as small as the filter needs.

/// Where a jump goes: on, or out with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Next,
    Allow,
    Refuse,
    NoSuchCall,
    Kill,
}

impl Target {
    fn answer(self) -> Option<u32> {
        match self {
            Self::Next => None,
            Self::Allow => Some(0x7fff_0000),
            Self::Refuse => Some(0x0005_0000 | libc::EPERM as u32),
            Self::NoSuchCall => Some(0x0005_0000 | libc::ENOSYS as u32),
            Self::Kill => Some(0x8000_0000),
        }
    }
}

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const JUMP_ALWAYS: u16 = 0x05;
const RETURN: u16 = 0x06;

struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    value: u32,
}

pub(super) struct Assembler {
    program: Vec<Instruction>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Self { program: Vec::new() }
    }

    fn push(&mut self, code: u16, yes: u8, no: u8, value: u32) {
        self.program.push(Instruction { code, yes, no, value });
    }

    /// Loads the 32 bits at `offset` of `struct seccomp_data`.
    pub(super) fn load(&mut self, offset: u32) {
        self.push(LOAD, 0, 0, offset);
    }

    /// Loads the low half of an argument: those we look at are 32 bits wide to the kernel.
    pub(super) fn load_argument(&mut self, index: u32) {
        let low = if cfg!(target_endian = "big") { 4 } else { 0 };
        self.load(16 + 8 * index + low);
    }

    pub(super) fn leave(&mut self, target: Target) {
        if let Some(answer) = target.answer() {
            self.push(RETURN, 0, 0, answer);
        }
    }

    pub(super) fn jump_if_equal(&mut self, value: u32, yes: Target, no: Target) {
        self.jump(JUMP_EQUAL, value, yes, no);
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn jump_if_at_least(&mut self, value: u32, yes: Target, no: Target) {
        self.jump(JUMP_AT_LEAST, value, yes, no);
    }

    pub(super) fn jump_if_any_bit(&mut self, value: u32, yes: Target, no: Target) {
        self.jump(JUMP_ANY_BIT, value, yes, no);
    }

    /// The answers stand right behind the jump, so that no distance grows beyond a byte.
    fn jump(&mut self, code: u16, value: u32, yes: Target, no: Target) {
        match (yes, no) {
            (Target::Next, Target::Next) => {}
            (Target::Next, no) => {
                self.push(code, 1, 0, value);
                self.leave(no);
            }
            (yes, Target::Next) => {
                self.push(code, 0, 1, value);
                self.leave(yes);
            }
            (yes, no) => {
                self.push(code, 0, 1, value);
                self.leave(yes);
                self.leave(no);
            }
        }
    }

    /// Runs `body` on an argument of one call; `body` must answer on every way.
    pub(super) fn on_argument(&mut self, call: u32, index: u32, body: impl FnOnce(&mut Self)) {
        let mut inner = Self::new();
        inner.load_argument(index);
        body(&mut inner);
        // An unconditional jump over the body, since a conditional one reaches 255 instructions.
        self.push(JUMP_EQUAL, 1, 0, call);
        self.push(JUMP_ALWAYS, 0, 0, inner.program.len() as u32);
        self.program.append(&mut inner.program);
    }

    /// Allows a loaded number within one of the sorted, inclusive `ranges`; refuses it otherwise.
    pub(super) fn search(&mut self, ranges: &[(u32, u32)]) {
        self.search_from(0, ranges);
    }

    /// The same for a number that is known to be at least `floor`.
    fn search_from(&mut self, floor: u32, ranges: &[(u32, u32)]) {
        match ranges {
            [] => self.leave(Target::Refuse),
            [(first, last)] if first == last => {
                self.jump(JUMP_EQUAL, *first, Target::Allow, Target::Refuse)
            }
            [(first, last)] => {
                if *first > floor {
                    self.jump(JUMP_AT_LEAST, *first, Target::Next, Target::Refuse);
                }
                self.jump(JUMP_AT_LEAST, last.saturating_add(1), Target::Refuse, Target::Allow);
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let mut below = Self::new();
                below.search_from(floor, low);
                let pivot = high.first().map_or(0, |range| range.0);
                self.push(JUMP_AT_LEAST, 0, 1, pivot);
                self.push(JUMP_ALWAYS, 0, 0, below.program.len() as u32);
                self.program.append(&mut below.program);
                self.search_from(pivot, high);
            }
        }
    }

    /// The program, each instruction laid out as `struct sock_filter`.
    pub(super) fn finish(self) -> Vec<u64> {
        let layout = |i: Instruction| {
            let [c0, c1] = i.code.to_ne_bytes();
            let [v0, v1, v2, v3] = i.value.to_ne_bytes();
            u64::from_ne_bytes([c0, c1, i.yes, i.no, v0, v1, v2, v3])
        };
        self.program.into_iter().map(layout).collect()
    }
}

/// What the kernel would answer, and the numbers of the instructions on the way to it.
#[cfg(test)]
pub(super) fn trace(
    program: &[u64],
    architecture: u32,
    call: u32,
    arguments: &[u64],
) -> (u32, Vec<usize>) {
    let mut data = Vec::new();
    data.extend(call.to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend([0u8; 8]);
    for index in 0..6 {
        data.extend(arguments.get(index).copied().unwrap_or(0).to_ne_bytes());
    }
    let (mut at, mut accumulator, mut way) = (0usize, 0u32, Vec::new());
    loop {
        way.push(at);
        let [c0, c1, yes, no, v0, v1, v2, v3] = program[at].to_ne_bytes();
        let (code, value) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([v0, v1, v2, v3]));
        at += 1;
        let holds = match code {
            LOAD => {
                accumulator = u32::from_ne_bytes(data[value as usize..][..4].try_into().unwrap());
                continue;
            }
            RETURN => return (value, way),
            JUMP_ALWAYS => {
                at += value as usize;
                continue;
            }
            JUMP_EQUAL => accumulator == value,
            JUMP_AT_LEAST => accumulator >= value,
            JUMP_ANY_BIT => accumulator & value != 0,
            _ => panic!("instruction {code:x}"),
        };
        at += usize::from(if holds { yes } else { no });
    }
}
