// SPDX-License-Identifier: Apache-2.0
//
// All of base/ in one include, for rooms that use most of it.
#pragma once

#include "base/account.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/port.h"
#include "base/ref.h"
#include "base/sign.h"
#include "base/signals.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/vec.h"
