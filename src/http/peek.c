// SPDX-License-Identifier: Apache-2.0
//
// Tells HTTP/2 with prior knowledge from HTTP/1 by the first 24 bytes. Bytes that matched are read and
// dropped: they are known, so whoever takes the connection over is given them back from the constant.

#include "http/h1.h"

unsigned http_preface_match(unsigned seen, const uint8_t *data, size_t len) {
    unsigned matched = 0;
    while (matched < len && seen + matched < HTTP2_PREFACE_LEN &&
           data[matched] == (uint8_t)HTTP2_PREFACE[seen + matched])
        matched++;
    return matched;
}
