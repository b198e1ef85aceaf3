#!/bin/bash
# bindgen and macros of 64 bits.
#
# Where it was seen: bindgen 0.60.1 (Debian 12: 0.60.1-2+b2), libclang 14.0.6.
# The likely guess: `#define X 18446744073709551615ULL` becomes an unsigned constant of 64 bits, as
#   `#define Y 9223372036854775807` does.
# What happens: a macro whose top bit is set becomes a signed constant of the same bits, of the
#   smallest type that holds it: all bits set is the i32 -1, without a warning. A comparison with an
#   u64 then does not compile, and a cast by way of u32 is another number. A `static const` of the
#   same type and value comes out right.
# What lanemap does: its constants of 64 bits (LANEMAP_SPAN_UNWRITTEN) are static const, and
#   tests/api/test_bindings.py looks at what bindgen makes of them.
#
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail

command -v bindgen >/dev/null || apt-get -qq install -y --no-install-recommends bindgen >/dev/null
bindgen --version

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/wide.h" <<'END'
#define ID_MAX 4294967295U
#define LARGEST_SIGNED 9223372036854775807
#define TOP_BIT 9223372036854775808ULL
#define ALL_BITS 18446744073709551615ULL
static const unsigned long long all_bits = 18446744073709551615ULL;
END
bindgen "$folder/wide.h" | grep '^pub const' | tee "$folder/seen"

diff - "$folder/seen" <<'END' || { echo "this has changed"; exit 1; }
pub const ID_MAX: u32 = 4294967295;
pub const LARGEST_SIGNED: u64 = 9223372036854775807;
pub const TOP_BIT: i64 = -9223372036854775808;
pub const ALL_BITS: i32 = -1;
pub const all_bits: ::std::os::raw::c_ulonglong = 18446744073709551615;
END
echo "as described"
