/* SPDX-License-Identifier: Apache-2.0 */
/* A batch through the layer and back: nothing here is larger than d x d or m x d. */
#include "spherical/spherical.h"

#include <string.h>

#include "base/vectors.h"

/*
 * With no more classes than inputs the logits themselves cost no more than gram, and are the better source of their
 * variance: inputs that tell two or three classes hardly apart are not rare, and a quadratic form would have lost it.
 */
static void look_at_logits(const lmx_spherical *l, lmx_spherical_work *w)
{
    const size_t m = w->m, d = w->d;
    memset(w->total, 0, m * sizeof *w->total);
    memset(w->square, 0, m * sizeof *w->square);
    for (size_t i = 0; i < l->classes; i++) {
        lmx_spherical_row(l, i, w->row);
        for (size_t j = 0; j < m; j++) {
            const double o = lmx_dot(w->row, w->u_h + j * d, d) + w->omega_h[j];
            w->few_logits[i * m + j] = o;
            w->total[j] += o;
        }
    }
    for (size_t i = 0; i < l->classes; i++)
        for (size_t j = 0; j < m; j++) {
            const double centred = w->few_logits[i * m + j] - w->total[j] / (double)l->classes;
            w->square[j] += centred * centred;
        }
}

static void forward(const lmx_spherical *l, lmx_spherical_work *w)
{
    const size_t m = w->m, d = w->d;
    lmx_multiply(&w->on, m, d, d, w->h, d, 1, l->gram, d, 1, w->gram_h, d, 0);
    lmx_multiply(&w->on, m, d, d, w->h, d, 1, l->u, 1, d, w->u_h, d, 0);
    for (size_t j = 0; j < m; j++) {
        const double *const h = w->h + j * d;
        const double square = lmx_dot(h, w->gram_h + j * d, d);
        w->square[j] = square < 0 ? 0 : square;
        w->total[j] = lmx_dot(h, l->sum, d);
        w->omega_h[j] = lmx_dot(h, l->omega, d);
    }
    if (l->classes <= d)
        look_at_logits(l, w);
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i)) {
        lmx_spherical_row(l, w->target[i].class, w->row);
        for (size_t k = i; k < lmx_spherical_class_end(w, i); k++) {
            lmx_spherical_target *const t = &w->target[k];
            t->logit = lmx_dot(w->row, w->u_h + t->row * d, d) + w->omega_h[t->row];
            w->at_targets[t->row] = t->logit;
        }
    }
    lmx_spherical_losses(l, w);
}

static void backward(const lmx_spherical *l, lmx_spherical_work *w)
{
    const size_t m = w->m, d = w->d;
    const double D = (double)l->classes;
    double *const v_rows = w->p; /* V^T of the targets' gradients; free until a step */
    double *const mean = w->column, *const shift = w->column + d;
    for (size_t k = 0; k < d; k++) {
        mean[k] = l->sum[k] / D;
        shift[k] = l->omega[k] - mean[k];
    }
    memset(v_rows, 0, m * d * sizeof *v_rows);
    memset(w->at_targets, 0, m * sizeof *w->at_targets);
    for (size_t i = 0; i < w->targets; i = lmx_spherical_class_end(w, i)) {
        lmx_spherical_row(l, w->target[i].class, w->row);
        for (size_t k = i; k < lmx_spherical_class_end(w, i); k++) {
            const lmx_spherical_target *const t = &w->target[k];
            lmx_axpy(t->grad, w->row, d, v_rows + t->row * d);
            w->at_targets[t->row] += t->grad;
        }
    }
    lmx_multiply(&w->on, m, d, d, v_rows, d, 1, l->u, d, 1, w->z, d, 0);
    for (size_t j = 0; j < m; j++) {
        const double targets = w->at_targets[j], gv = w->gv[j];
        const double g1 = w->g1[j] = D * w->gs[j] + targets;
        const double *const gram_h = w->gram_h + j * d;
        double *const z = w->z + j * d, *const c = w->centred + j * d,
                      *const dh = w->dhidden + j * d;
        for (size_t k = 0; k < d; k++) {
            z[k] += targets * shift[k];
            c[k] = gv * gram_h[k] + z[k];
            dh[k] = c[k] + g1 * mean[k];
        }
    }
}

void lmx_spherical_pass(const lmx_spherical *l, lmx_spherical_work *w, int gradient)
{
    forward(l, w);
    if (gradient)
        backward(l, w);
}
