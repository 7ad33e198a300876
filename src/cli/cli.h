// SPDX-License-Identifier: Apache-2.0
//
// The command line: one table of commands, one file a command.
#pragma once

// Runs the command that `argv` names and returns the exit status: 0 ok, 1 the operation failed, 2 wrong use
// or bad local input, 3 the server does not offer it. Data goes to standard output, messages to standard
// error.
int tw_cli_main(int argc, char **argv);
