// SPDX-License-Identifier: Apache-2.0
//
// tensor-wasm: the server and its command line. Everything is in cli/.

#include "base/fault.h"
#include "base/file.h"
#include "cli/cli.h"

int main(int argc, char **argv) {
    tw_fault_configure(getenv("TW_FAULT"));
    (void)
        tw_file_raise_limit(); // each connection takes one, each function two; doctor shows how many there are
    return tw_cli_main(argc, argv);
}
