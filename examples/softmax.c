/* cc softmax.c -o softmax $(python -m lanemax config --cflags --libs) */
#include <lanemax/lanemax.h>
#include <math.h>
#include <stdio.h>

int main(void)
{
    const float logits[4] = { 1, 2, -INFINITY, 4 }; /* the third class is masked */
    float p[4];
    const lmx_status status = lmx_softmax(NULL, LMX_F32, 1, 4, logits, 4, p, 4);
    if (status != LMX_OK)
        return fprintf(stderr, "%s\n", lmx_status_string(status)), 1;
    printf("%s: %.4f %.4f %.4f %.4f\n", lmx_isa_name(NULL), p[0], p[1], p[2], p[3]);
    return 0;
}
