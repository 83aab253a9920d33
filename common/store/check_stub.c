#include <errno.h>
#include "common/store/store.h"
int briq_check(const char *p,const struct briq_check_options*o,struct briq_check_result*r,struct briq_error*e){(void)p;(void)o;(void)r;return briq_error_set(e,-ENOSYS,"x");}
int briq_dump(const char *p,const struct briq_dump_options*o,FILE*f,struct briq_error*e){(void)p;(void)o;(void)f;return briq_error_set(e,-ENOSYS,"x");}
