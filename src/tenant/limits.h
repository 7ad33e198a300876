// SPDX-License-Identifier: Apache-2.0
//
// The maxima of tenants and tokens, each with its reason.
#pragma once

enum {
    TENANT_TOKENS_MAX = 500000,    // about 150 bytes each; asking costs the same however many there are
    TENANT_SCOPE_MAX = 256,        // tenants one token may name; more than that is a token for all (*)
    TENANT_TOKEN_MIN = 16,         // characters: shorter ones can be guessed
    TENANT_TOKEN_MAX = 512,        // characters: more than any bearer token in use
    TENANT_ADMIN_TOKEN_BYTES = 32, // of randomness in the token made at the first start
    TENANT_CONFIG_MAX = 64 << 20,  // bytes of TENSOR_WASM_API_TOKENS, and of its file
    TENANT_TABLE_MAX = 100000,     // tenants in memory, about 700 bytes each
    TENANT_EVICT_STEPS = 64,       // tenants looked at to find one that can be forgotten: bounded work a call
    AUDIT_QUEUE = 4096,            // lines that wait for the disk: seconds of the busiest server
    AUDIT_OBJECT_MAX = 256,        // bytes of an object's name: more than any name of ours
    AUDIT_LINE_MAX = 4096,         // bytes: 256 of the object escape to 1,536, the rest is short
    AUDIT_END_S = 5,               // a shutdown waits so long for a stuck disk
    TENANT_PAGE_MAX = 1000,        // tenants in one page of a list
    TENANT_TOP = 50,               // tenants of an overview: more than a screen has lines
    TENANT_RECORD_MAX = 4096,      // bytes of a tenant's record: a name and a few numbers
    TENANT_WEIGHT_MAX = 1000,      // finer shares than a thousandth nobody can see
    TENANT_NAME_MAX = 64,          // bytes: fits a line of a table
};
